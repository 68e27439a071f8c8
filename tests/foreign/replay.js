// Replays a golden transcript (JSON on standard input) against the server at the address on the command line. Ends with an
// error at the first message that is not the expected one. tests/support/transcripts.py describes the files.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const grpc = require('@grpc/grpc-js');
const { detail, load } = require('./intone');

const READ_MS = 20000;
// As in the JSON mapping of protobuf: what is absent is left out, bytes are base64, integers of 64 bits are strings.
const METHODS = load({ longs: String, bytes: String, defaults: false, oneofs: false })['intone.v1.SpeechService'];

// Whether a value is the expected one, which may have `<any …>`.
function matches(expected, found) {
  if (Array.isArray(expected)) {
    return Array.isArray(found) && found.length === expected.length && expected.every((one, i) => matches(one, found[i]));
  }
  if (expected !== null && typeof expected === 'object') {
    return found !== null && typeof found === 'object'
      && Object.keys(expected).sort().join() === Object.keys(found).sort().join()
      && Object.keys(expected).every((key) => matches(expected[key], found[key]));
  }
  if (expected === '<any number>') return typeof found === 'number';
  if (typeof expected === 'string' && expected.startsWith('<any ')) return typeof found === 'string' && found !== '';
  // The wire has 32 bits for most fractions.
  if (typeof expected === 'number' && typeof found === 'number') return Math.fround(expected) === Math.fround(found);
  return expected === found;
}

// A message as in a transcript: audio by its SHA-256, details of errors decoded.
function shown(message) {
  const { audio, done, closed, request_refused: refused } = message;
  if (audio) {
    const digest = crypto.createHash('sha256').update(Buffer.from(audio.data, 'base64')).digest('hex');
    audio.data = `<bytes with SHA-256 ${digest}>`;
  }
  for (const status of [done && done.error, refused && refused.error, closed && closed.status]) {
    if (status && status.details) status.details = status.details.map(detail);
  }
  return message;
}

// A call: `take` does a step of the client, `answer` waits for the next message of the server or the status.
class Call {
  constructor(client, method) {
    this.client = client;
    this.definition = METHODS[method];
    this.answers = [];
    this.waiting = [];
    if (this.definition.requestStream) {
      const serialize = (value) => (Buffer.isBuffer(value) ? value : this.definition.requestSerialize(value));
      this.listen(client.makeBidiStreamRequest(this.definition.path, serialize, this.definition.responseDeserialize));
    }
  }

  listen(stream) {
    this.stream = stream;
    stream.on('data', (message) => this.add({ server: shown(message) }));
    stream.on('error', () => {}); // `status` follows
    stream.on('status', (status) => this.add({ status: grpc.status[status.code] }));
  }

  add(answer) {
    this.answers.push(answer);
    if (this.waiting.length) this.waiting.shift()();
  }

  async answer() {
    if (!this.answers.length) {
      let timer;
      await new Promise((resolve, reject) => {
        this.waiting.push(resolve);
        timer = setTimeout(() => reject(new Error(`nothing came within ${READ_MS} ms`)), READ_MS);
      });
      clearTimeout(timer);
    }
    return this.answers.shift();
  }

  async take(step) {
    if (step.wait_ms) await new Promise((resolve) => { setTimeout(resolve, step.wait_ms); });
    else if (step.stop) process.stdout.write(`${JSON.stringify(step)}\n`);
    else if (step.half_close) this.stream.end();
    else if (step.client_bytes) this.stream.write(Buffer.from(step.client_bytes, 'base64'));
    else if (this.stream) this.stream.write(step.client);
    else {
      const { path, requestSerialize, responseDeserialize } = this.definition;
      this.listen(this.client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, step.client));
    }
  }
}

async function replay(call, steps) {
  for (const [number, step] of steps.entries()) {
    if (step.server || step.status) {
      const found = await call.answer();
      if (!matches(step, found)) {
        throw new Error(`step ${number}: expected ${JSON.stringify(step)}, found ${JSON.stringify(found)}`);
      }
    } else await call.take(step);
  }
}

const transcript = JSON.parse(fs.readFileSync(0, 'utf8'));
const client = new grpc.Client(process.argv[2], grpc.credentials.createInsecure());
replay(new Call(client, transcript.method), transcript.steps).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1); // the call is still open
}).finally(() => client.close());
