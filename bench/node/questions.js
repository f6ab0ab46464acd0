// Questions of one worker to another by way of the primary, and the answers back, by `process.send`.
// `node questions.js AT_ONCE COUNT`
'use strict';

const cluster = require('node:cluster');
const fs = require('node:fs');

const [atOnce, count] = process.argv.slice(2).map(Number);
const now = () => (performance.timeOrigin + performance.now()) * 1e6;
const tell = (fields) => fs.writeSync(1, `${JSON.stringify({ ...fields, at: now() })}\n`);

if (cluster.isPrimary) {
  const [answerer, asker] = ['answer', 'ask'].map((role) => cluster.fork({ ROLE: role }));
  let awaited = 2;
  cluster.on('message', (from, message) => {
    if (!message.ready) {
      (from === asker ? answerer : asker).send(message);
      return;
    }
    awaited -= 1;
    if (awaited === 0) asker.send({ begin: true });
  });
} else if (process.env.ROLE === 'answer') {
  process.on('message', (message) => process.send(message));
  process.send({ ready: true });
} else {
  const latencies = [];
  const filling = 'x'.repeat(24);
  let unasked = count;
  const ask = () => {
    unasked -= 1;
    process.send({ sent: now(), filling });
  };
  process.on('message', (message) => {
    if (message.begin) {
      tell({ role: 'begin' });
      while (unasked > count - atOnce) ask();
      return;
    }
    latencies.push(Math.round(now() - message.sent));
    if (latencies.length === count) {
      tell({ role: 'end' });
      // A pipe takes no more than it has room for, and writeSync would fail where it is full.
      process.stdout.write(`${JSON.stringify({ role: 'receiver', received: count, latencies, at: now() })}\n`);
    } else if (unasked > 0) {
      ask();
    }
  });
  process.send({ ready: true });
}
