// SPDX-License-Identifier: Apache-2.0
'use strict';
// Run by ../test_node.py, which says where the server and its .proto are.
const assert = require('node:assert');
const path = require('node:path');
const {after, before, test} = require('node:test');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const base = `http://${process.env.DULY_HTTP_URL}`;
const proto = process.env.PROTO;
let client;

before(() => {
  const definition = loader.loadSync(proto, {keepCase: true, longs: Number, defaults: true, oneofs: true,
                                             includeDirs: [path.dirname(proto)]});
  const {GRPCInferenceService} = grpc.loadPackageDefinition(definition).inference;
  client = new GRPCInferenceService(process.env.DULY_GRPC_URL, grpc.credentials.createInsecure());
});
after(() => client.close());

// The answer of a unary call; fails as the call does.
function call(method, request, options = {}) {
  return new Promise((resolve, reject) => {
    client[method](request, new grpc.Metadata(), options,
                   (error, reply) => error ? reject(error) : resolve(reply));
  });
}

function floats(values) {
  return Buffer.from(Float32Array.from(values).buffer);
}

function twoRequest(id = '') {
  return {
    model_name: 'two',
    id,
    inputs: [{name: 'in0', datatype: 'FP32', shape: [1, 2]}, {name: 'in1', datatype: 'INT64', shape: [1, 2]}],
    raw_input_contents: [floats([0.5, -2]), Buffer.from(BigInt64Array.from([7n, -(2n ** 62n)]).buffer)],
  };
}

function slowRequest() {
  return {model_name: 'slow', inputs: [{name: 'in0', datatype: 'FP32', shape: [1]}], raw_input_contents: [floats([1])]};
}

test('gRPC says what it serves', async () => {
  assert.strictEqual((await call('ServerReady', {})).ready, true);
  assert.strictEqual((await call('ServerMetadata', {})).name, 'duly');
  const metadata = await call('ModelMetadata', {name: 'two'});
  assert.deepStrictEqual(metadata.inputs.map(({name, datatype, shape}) => [name, datatype, shape]),
                         [['in0', 'FP32', [-1, 2]], ['in1', 'INT64', [-1, 2]]]);
  assert.strictEqual((await call('ModelConfig', {name: 'two'})).config.max_batch_size, 8);
});

test('unary inference with raw contents', async () => {
  const reply = await call('ModelInfer', twoRequest('n1'));
  assert.strictEqual(reply.id, 'n1');
  assert.deepStrictEqual(reply.outputs.map(({name, shape}) => [name, shape]), [['out0', [1, 2]], ['out1', [1, 2]]]);
  assert.deepStrictEqual(reply.raw_output_contents, twoRequest().raw_input_contents);
});

test('unary inference with typed contents', async () => {
  const texts = ['', 'a "quoted" word, é'].map((text) => Buffer.from(text));
  const reply = await call('ModelInfer', {
    model_name: 'texts',
    inputs: [{name: 'in0', datatype: 'BYTES', shape: [2], contents: {bytes_contents: texts}}],
  });
  const framed = texts.flatMap((text) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(text.length);
    return [length, text];
  });
  assert.deepStrictEqual(reply.raw_output_contents, [Buffer.concat(framed)]);
});

test('errors have their codes', async () => {
  const wrong = twoRequest();
  wrong.inputs[0].datatype = 'INT8';
  await assert.rejects(call('ModelInfer', wrong), {code: grpc.status.INVALID_ARGUMENT});
  await assert.rejects(call('ModelInfer', {...twoRequest(), model_name: 'absent'}),
                       {code: grpc.status.NOT_FOUND, details: /unknown model 'absent'/});
  await assert.rejects(call('RepositoryModelLoad', {model_name: 'two'}), {code: grpc.status.INVALID_ARGUMENT});
});

test('a deadline ends the call', async () => {
  const begin = Date.now();
  await assert.rejects(call('ModelInfer', slowRequest(), {deadline: begin + 50}),
                       {code: grpc.status.DEADLINE_EXCEEDED});
  assert.ok(Date.now() - begin < 280, 'it was waited for');
  assert.ok(await call('ModelInfer', slowRequest(), {deadline: Date.now() + 30000}));
});

test('a stream answers many, and goes on after an error', async () => {
  const stream = client.ModelStreamInfer();
  const answers = new Map();
  const ended = new Promise((resolve, reject) => {
    stream.on('data', ({error_message: error, infer_response: reply}) => {
      answers.set(reply.id, {error, raw: reply.raw_output_contents});
    });
    stream.on('end', resolve);
    stream.on('error', reject);
  });
  const ids = Array.from({length: 20}, (_, index) => `s${index}`);
  for (const id of ids) stream.write(id === 's5' ? {...twoRequest(id), model_name: 'absent'} : twoRequest(id));
  stream.end();
  await ended;
  assert.deepStrictEqual([...answers.keys()].sort(), [...ids].sort());
  for (const [id, {error, raw}] of answers) {
    if (id === 's5') {
      assert.match(error, /unknown model 'absent'/);
    } else {
      assert.strictEqual(error, '');
      assert.deepStrictEqual(raw, twoRequest().raw_input_contents);
    }
  }
});

test('fetch infers with JSON tensors', async () => {
  const reply = await fetch(`${base}/v2/models/two/infer`, {
    method: 'POST',
    body: JSON.stringify({
      id: 'f1',
      inputs: [{name: 'in0', datatype: 'FP32', shape: [1, 2], data: [0.5, -2]},
               {name: 'in1', datatype: 'INT64', shape: [1, 2], data: [7, -9]}],
    }),
  });
  assert.strictEqual(reply.status, 200);
  const {id, outputs} = await reply.json();
  assert.strictEqual(id, 'f1');
  assert.deepStrictEqual(outputs.map(({data}) => data), [[0.5, -2], [7, -9]]);
});

test('fetch infers with binary tensors', async () => {
  const {inputs, raw_input_contents: raw} = twoRequest();
  const json = JSON.stringify({
    inputs: inputs.map((input, index) => ({...input, parameters: {binary_data_size: raw[index].length}})),
    parameters: {binary_data_output: true},
  });
  const reply = await fetch(`${base}/v2/models/two/infer`, {
    method: 'POST',
    headers: {'Inference-Header-Content-Length': String(Buffer.byteLength(json))},
    body: Buffer.concat([Buffer.from(json), ...raw]),
  });
  assert.strictEqual(reply.status, 200);
  const bytes = Buffer.from(await reply.arrayBuffer());
  const header = Number(reply.headers.get('inference-header-content-length'));
  assert.strictEqual(JSON.parse(bytes.subarray(0, header)).outputs.length, 2);
  assert.deepStrictEqual(bytes.subarray(header), Buffer.concat(raw));
});

test('fetch is told errors', async () => {
  const reply = await fetch(`${base}/v2/models/absent/infer`, {method: 'POST', body: '{}'});
  assert.strictEqual(reply.status, 404);
  assert.match((await reply.json()).error, /unknown model 'absent'/);
  assert.strictEqual((await fetch(`${base}/v2/models/two/infer`)).status, 405);
});
