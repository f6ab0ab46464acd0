//! Tables that are no wider than the terminal: what finds no place are whole columns, the least wanted first. Pure.

use comfy_table::{CellAlignment, ColumnConstraint, Table, presets::NOTHING};

/// Blanks between two columns.
const GAP: u16 = 2;

/// One column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    side: CellAlignment,
    /// The highest goes first; those with 0 stay.
    rank: u8,
}

impl Column {
    /// One of words.
    pub(super) const fn words(name: &'static str, rank: u8) -> Self {
        Self { name, side: CellAlignment::Left, rank }
    }

    /// One of figures.
    pub(super) const fn figures(name: &'static str, rank: u8) -> Self {
        Self { name, side: CellAlignment::Right, rank }
    }
}

/// Draws a table; without a `width` all of it. The first column names the row, and takes a third of the width at most.
pub(super) fn draw(columns: &[Column], rows: Vec<Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(columns.iter().map(|column| column.name));
    for mut row in rows {
        if let Some((name, width)) = row.first_mut().zip(width) {
            *name = cut(name, usize::from(width / 3));
        }
        table.add_row(row);
    }
    let hidden = width.map(|width| misfits(columns, &table.column_max_content_widths(), width));
    for (nth, (drawn, column)) in table.column_iter_mut().zip(columns).enumerate() {
        drawn.set_padding((0, GAP)).set_cell_alignment(column.side);
        if hidden.as_ref().is_some_and(|hidden| hidden.contains(&nth)) {
            drawn.set_constraint(ColumnConstraint::Hidden);
        }
    }
    table.trim_fmt()
}

/// The columns for which there is no place.
fn misfits(columns: &[Column], widths: &[u16], width: u16) -> Vec<usize> {
    let mut taken: u16 = widths.iter().fold(0, |sum, own| sum.saturating_add(own.saturating_add(GAP)));
    let mut least_wanted: Vec<usize> = (0..columns.len()).filter(|nth| columns[*nth].rank > 0).collect();
    least_wanted.sort_by_key(|nth| std::cmp::Reverse(columns[*nth].rank));
    let mut hidden = Vec::new();
    for nth in least_wanted {
        // Behind the last there is no gap.
        if taken.saturating_sub(GAP) <= width {
            break;
        }
        taken -= widths[nth] + GAP;
        hidden.push(nth);
    }
    hidden
}

/// The beginning of a text, in so many characters.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::words("NAME", 0),
        Column::figures("A", 2),
        Column::figures("BB", 3),
        Column::figures("C", 1),
    ];

    fn drawn(width: Option<u16>) -> String {
        draw(&COLUMNS, vec![["a-long-name", "1", "2", ""].map(str::to_owned).to_vec()], width)
    }

    #[test]
    fn the_least_wanted_columns_are_left_out() {
        for (width, expected) in [
            (None, "NAME         A  BB  C\na-long-name  1   2"),
            (Some(33), "NAME         A  BB  C\na-long-name  1   2"),
            (Some(15), "NAME   A  BB  C\na-lo…  1   2"),
            (Some(13), "NAME  A  C\na-l…  1"),
            (Some(9), "NAME  C\na-…"),
            (Some(3), "NAME\n…"),
        ] {
            assert_eq!(drawn(width), expected, "{width:?}");
        }
    }

    #[test]
    fn of_a_long_text_the_beginning_stays() {
        for (text, room, shown) in [("", 3, ""), ("été", 3, "été"), ("étés", 3, "ét…"), ("a b c", 3, "a…")]
        {
            assert_eq!(cut(text, room), shown);
        }
    }
}
