// Egg as in production: `node start.js PORT WORKERS`
'use strict';

const path = require('node:path');

process.env.EGG_SERVER_ENV = 'prod';
process.env.NODE_ENV = 'production';
// Its logs belong below the folder that the script removes.
process.env.EGG_HOME = path.join(__dirname, 'home');

const [port, workers] = process.argv.slice(2).map(Number);

require('egg').startCluster({ baseDir: __dirname, port, workers }, () => console.log('egg is ready'));
