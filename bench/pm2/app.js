// The same two pages as the other peers have, for PM2 in cluster mode; PORT is the port. The farewell is the one that
// PM2's documentation tells to write.
'use strict';

const http = require('node:http');

const server = http.createServer((request, response) => {
  const who = request.url === '/whoami';
  response.end(who ? JSON.stringify({ pid: process.pid }) : 'hello from worker 0\n');
});
server.listen(Number(process.env.PORT), '127.0.0.1');

process.on('SIGINT', () => server.close(() => process.exit(0)));
