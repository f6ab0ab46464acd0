// What Node's own documentation tells to do: a primary that forks again whenever a worker has gone.
// `node cluster.js PORT WORKERS`
'use strict';

const cluster = require('node:cluster');
const http = require('node:http');

const [port, workers] = process.argv.slice(2).map(Number);

if (cluster.isPrimary) {
  let awaited = workers;
  cluster.on('listening', () => {
    awaited -= 1;
    if (awaited === 0) console.log('ready');
  });
  cluster.on('exit', () => cluster.fork());
  for (let index = 0; index < workers; index += 1) cluster.fork();
} else {
  http
    .createServer((request, response) => {
      const who = request.url === '/whoami';
      response.end(who ? JSON.stringify({ pid: process.pid }) : 'hello from worker 0\n');
    })
    .listen(port, '127.0.0.1');
}
