// The schema and what a stranger needs round it: a client, a stream whose events are collected, decoded error details.
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const PROTO = path.join(__dirname, '..', '..', 'proto');
const FILES = ['intone/v1/speech.proto', 'intone/v1/voice.proto'];

function load(options) {
  return protoLoader.loadSync(FILES, { includeDirs: [PROTO], keepCase: true, enums: String, ...options });
}

const { intone } = grpc.loadPackageDefinition(load({ longs: Number, defaults: true, oneofs: true }));
const { root } = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message BadRequest {
    message FieldViolation { string field = 1; string description = 2; }
    repeated FieldViolation field_violations = 1;
  }`, { keepCase: true });
const Status = root.lookupType('google.rpc.Status');

// The contents of a google.protobuf.Any with details of an error, as JSON.
function detail({ type_url: url, value }) {
  const type = root.lookupType(url.split('/').pop());
  const bytes = typeof value === 'string' ? Buffer.from(value, 'base64') : value;
  return { '@type': url, ...type.toObject(type.decode(bytes)) };
}

// What a google.rpc.Status tells a program: the reason, its values, and the fields that are at fault.
function told(status) {
  const details = ((status && status.details) || []).map(detail);
  const found = { reason: '', metadata: {}, fields: [] };
  for (const { reason, metadata, field_violations: violations } of details) {
    if (reason) Object.assign(found, { reason, metadata: metadata || {} });
    if (violations) found.fields = violations.map((violation) => violation.field);
  }
  return found;
}

// What a failed call says: its code by name, its words, the reason, and the fields that are at fault.
function failure(error) {
  const [packed] = error.metadata.get('grpc-status-details-bin');
  return { code: grpc.status[error.code], message: error.details, ...told(packed && Status.decode(packed)) };
}

// A conversation: `react` sees each event as it comes; `ended` gives {events, status} when the call is over.
function converse(client, react = () => {}) {
  const stream = client.StreamSynthesize();
  const events = [];
  const ended = new Promise((resolve) => {
    let failed = null;
    stream.on('data', (message) => {
      const event = { ...message[message.response], event: message.response };
      if (event.error || event.status) event.told = told(event.error || event.status);
      events.push(event);
      react(event, stream);
    });
    stream.on('error', (error) => { failed = failure(error); });
    stream.on('status', (status) => resolve({ events, status: failed || { code: grpc.status[status.code] } }));
  });
  return { stream, ended };
}

// One call with one answer: {response} or {failure}.
function call(client, method, request) {
  return new Promise((resolve) => {
    client[method](request, (error, response) => resolve(error ? { failure: failure(error) } : { response }));
  });
}

function connect(address) {
  return {
    speech: new intone.v1.SpeechService(address, grpc.credentials.createInsecure()),
    voices: new intone.v1.VoiceService(address, grpc.credentials.createInsecure()),
  };
}

// Audio bytes as hexadecimal, so that everything is plain JSON.
function print(result) {
  const hex = (key, value) => (value && value.type === 'Buffer' ? Buffer.from(value.data).toString('hex') : value);
  process.stdout.write(`${JSON.stringify(result, hex)}\n`);
}

// Runs one script: address and script (JSON) from the command line, one JSON value on stdout.
function main(run) {
  const [address, script] = process.argv.slice(2);
  const clients = connect(address);
  run(clients, JSON.parse(script)).then(print, (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  }).finally(() => { clients.speech.close(); clients.voices.close(); });
}

module.exports = { call, converse, detail, load, main };
