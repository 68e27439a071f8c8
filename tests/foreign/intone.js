// The schema and what a stranger needs round it: a client, a stream whose events are collected, decoded error details.
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const PROTO = path.join(__dirname, '..', '..', 'proto');
const definition = protoLoader.loadSync(['intone/v1/speech.proto', 'intone/v1/voice.proto'], {
  includeDirs: [PROTO],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
});
const { intone } = grpc.loadPackageDefinition(definition);
const { root } = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message BadRequest {
    message FieldViolation { string field = 1; string description = 2; }
    repeated FieldViolation field_violations = 1;
  }`, { keepCase: true });
const Status = root.lookupType('google.rpc.Status');
const BadRequest = root.lookupType('google.rpc.BadRequest');

// The fields that a list of google.protobuf.Any names in BadRequest details.
function fields(details) {
  return (details || [])
    .filter((any) => any.type_url === 'type.googleapis.com/google.rpc.BadRequest')
    .flatMap((any) => BadRequest.decode(any.value).field_violations)
    .map((violation) => violation.field);
}

// What a failed call says: its code by name, its words, the fields that are at fault.
function failure(error) {
  const [packed] = error.metadata.get('grpc-status-details-bin');
  const details = packed ? Status.decode(packed).details : [];
  return { code: grpc.status[error.code], message: error.details, fields: fields(details) };
}

// A conversation: `react` sees each event as it comes; `ended` gives {events, status} when the call is over.
function converse(client, react = () => {}) {
  const stream = client.StreamSynthesize();
  const events = [];
  const ended = new Promise((resolve) => {
    let failed = null;
    stream.on('data', (message) => {
      const event = { ...message[message.response], event: message.response };
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

module.exports = { call, converse, failure, fields, main };
