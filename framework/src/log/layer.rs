//! Where events go: to the role's file, to `error.log`, to the console. It is the subscriber's only layer
//! and formats each line once, in a buffer that the thread keeps.

use std::cell::RefCell;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::backlog::BATCH;
use super::console::Console;
use super::file::SharedFile;
use super::line::{Clock, Fields, Head};
use super::{LogSettings, TRAFFIC};

/// The way to a file: the queue of the thread that writes it, and the file itself for when that has ended.
#[derive(Debug)]
pub(super) struct Outlet {
    queue: NonBlocking,
    file: SharedFile,
    ended: Arc<AtomicBool>,
}

impl Outlet {
    /// `ended` tells that nobody reads the queue any more.
    pub(super) fn new(queue: NonBlocking, file: SharedFile, ended: Arc<AtomicBool>) -> Self {
        Self { queue, file, ended }
    }

    fn send(&self, line: &str) {
        let ended = self.ended.load(Ordering::Acquire);
        if ended || self.queue.clone().write_all(line.as_bytes()).is_err() {
            self.file.push(line.as_bytes());
            self.file.write_out();
        }
    }
}

/// Turns events into lines.
#[derive(Debug)]
pub(super) struct LogLayer {
    head: Arc<Head>,
    level: LevelFilter,
    console: LevelFilter,
    outlet: Option<Console>,
    quiet: Arc<AtomicBool>,
    role: Outlet,
    errors: Outlet,
}

impl LogLayer {
    pub(super) fn new(head: Arc<Head>, settings: &LogSettings, role: Outlet, errors: Outlet) -> Self {
        let (level, console) = (settings.level.filter(), settings.console.filter());
        Self { head, level, console, outlet: None, quiet: Arc::default(), role, errors }
    }

    /// What is grave enough also goes to this console, until `quiet` is true.
    pub(super) fn with_console(self, console: Option<Console>, quiet: Arc<AtomicBool>) -> Self {
        Self { outlet: console, quiet, ..self }
    }

    fn goes_to_files(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level || metadata.target() == TRAFFIC
    }

    fn write<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>, scratch: &mut Scratch)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let level = *event.metadata().level();
        if self.goes_to_files(event.metadata()) {
            scratch.file_line(&self.head, event, ctx);
            self.role.send(&scratch.line);
            if level == Level::ERROR {
                self.errors.send(&scratch.line);
            }
        }
        if level <= self.console
            && let Some(console) = &self.outlet
            && !self.quiet.load(Ordering::Relaxed)
        {
            scratch.console_line(&self.head, event);
            console.print(&scratch.line);
        }
        scratch.line.clear();
        scratch.line.shrink_to(BATCH);
    }
}

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.console || self.goes_to_files(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Lines about messages are of the level `info`.
        Some(self.level.max(self.console).max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut text = String::new();
        attributes.record(&mut Fields::new(&mut text, false));
        span.extensions_mut().insert(SpanFields(text));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(SpanFields(text)) = extensions.get_mut() {
            let separate = !text.is_empty();
            values.record(&mut Fields::new(text, separate));
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let kept = SCRATCH.try_with(|kept| match kept.try_borrow_mut() {
            Ok(mut scratch) => self.write(event, &ctx, &mut scratch),
            // A value that is being formatted logs by itself.
            Err(_) => self.write(event, &ctx, &mut Scratch::default()),
        });
        if kept.is_err() {
            self.write(event, &ctx, &mut Scratch::default());
        }
    }
}

/// The fields of a span, as they stand in a line.
struct SpanFields(String);

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread keeps between two events.
#[derive(Default)]
struct Scratch {
    clock: Clock,
    line: String,
}

impl Scratch {
    fn file_line<S>(&mut self, head: &Head, event: &Event<'_>, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Self { clock, line } = self;
        let metadata = event.metadata();
        line.clear();
        clock.push(SystemTime::now(), line);
        line.push_str(head.file(*metadata.level()));
        line.push_str(metadata.target());
        line.push(':');
        push_spans(event, ctx, line);
        event.record(&mut Fields::new(line, true));
        line.push('\n');
    }

    fn console_line(&mut self, head: &Head, event: &Event<'_>) {
        self.line.clear();
        self.line.push_str(head.console(*event.metadata().level()));
        event.record(&mut Fields::new(&mut self.line, false));
        self.line.push('\n');
    }
}

/// Writes ` outer{key=value}:inner:`, or nothing outside of spans.
fn push_spans<S>(event: &Event<'_>, ctx: &Context<'_, S>, line: &mut String)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(scope) = ctx.event_scope(event) else {
        return;
    };
    line.push(' ');
    for span in scope.from_root() {
        line.push_str(span.name());
        match span.extensions().get::<SpanFields>() {
            Some(SpanFields(fields)) if !fields.is_empty() => line.extend(["{", fields, "}:"]),
            _ => line.push(':'),
        }
    }
}
