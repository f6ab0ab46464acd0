# The same two pages as the other peers have, for Puma.
run lambda { |env|
  body = env['PATH_INFO'] == '/whoami' ? %({"pid":#{Process.pid}}) : "hello from worker 0\n"
  [200, { 'Content-Type' => 'text/plain', 'Content-Length' => body.bytesize.to_s }, [body]]
}
