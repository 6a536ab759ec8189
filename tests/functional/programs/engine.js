// SPDX-License-Identifier: MIT
// Makes V8 generate code, throw it away and generate it again, and prints what that code computes: one "name: value" a
// line. Results are exact, so that they are the same without generated code (node --jitless). For
//   node --allow-natives-syntax --expose-gc engine.js
'use strict';
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');

const say = (name, value) => console.log(`${name}: ${value}`);
const bits = (double) => {
  const words = new Uint32Array(new Float64Array([double]).buffer);
  return (words[1].toString(16).padStart(8, '0') + words[0].toString(16).padStart(8, '0'));
};

function integers(rounds) {
  let x = 12345;
  for (let i = 0; i < rounds; i++) {
    x = (Math.imul(x, 1103515245) + 12345) | 0;
    x ^= x >>> 7;
    x = (x << 3) | (x >>> 29);
    if (x % 5 === 0) x = ~x;
  }
  return x >>> 0;
}

function doubles(rounds) {
  let sum = 0, product = 1;
  for (let i = 1; i <= rounds; i++) {
    sum += Math.sqrt(i) * 1.5 - i / 3;
    product = product * 1.0000001 + (sum < product ? 0.25 : -0.25);
  }
  return [sum, product];
}

// What a conversion of the processor saturates, the language takes modulo 2^32.
function truncations(rounds) {
  const values = [0.5, -0.5, 2147483647.5, 2147483648, -2147483649, 4294967296.5, 1e15 + 3, -1e19, 1e300, NaN, Infinity];
  let all = 0;
  for (let i = 0; i < rounds; i++)
    for (const value of values) all = (Math.imul(all, 31) + (value | 0) + (Math.floor(value) >>> 3)) | 0;
  return all;
}

function typedArrays(size) {
  const bytes = new Uint8Array(size), halves = new Int16Array(size), floats = new Float32Array(size);
  const clamped = new Uint8ClampedArray(size), view = new DataView(new ArrayBuffer(size + 16));
  let sum = 0;
  for (let i = 0; i < size; i++) {
    bytes[i] = i * 7;
    halves[i] = i * 1001;
    floats[i] = i / 3;
    clamped[i] = i / 5 - 20;
    view.setUint32(i, i * 2654435761, true);
  }
  for (let i = 0; i < size; i++)
    sum = (Math.imul(sum, 33) + bytes[i] + halves[i] + clamped[i] + view.getUint16(i + 1, true) + (floats[i] * 4 | 0)) | 0;
  return sum >>> 0;
}

function field(object) { return object.value; }

// One function with one shape of argument, then a second, then many, then a string: optimized and given up again.
function shapes(rounds) {
  let sum = 0;
  for (let i = 0; i < rounds; i++) sum += field({ value: i });
  for (let i = 0; i < rounds; i++) sum += field({ other: 1, value: 2 * i });
  for (let i = 0; i < rounds; i++) sum += field({ ['a' + i % 9]: 0, value: 3 });
  for (let i = 0; i < 100; i++) sum += field({ value: String(i % 10) }).length;
  return sum;
}

function thrower(i) {
  if (i % 3 === 0) throw new RangeError(String(i));
  return i;
}

function exceptions(rounds) {
  let caught = 0, sum = 0;
  for (let i = 0; i < rounds; i++) {
    try {
      sum += thrower(i);
    } catch (error) {
      caught += error instanceof RangeError ? 1 : 1000;
    } finally {
      sum ^= 1;
    }
  }
  return `${caught} ${sum}`;
}

function* numbers(count) {
  for (let i = 0; i < count; i++) yield i;
}

function generators(count) {
  let sum = 0;
  for (const number of numbers(count)) sum = (sum * 3 + number) % 1000003;
  return sum;
}

function words(count) {
  const seen = new Map();
  let x = 1;
  for (let i = 0; i < count; i++) {
    x = Math.imul(x, 48271) >>> 0;
    const word = 'w' + (x % 251).toString(36);
    seen.set(word, (seen.get(word) || 0) + 1);
  }
  const rows = [...seen].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return JSON.stringify(JSON.parse(JSON.stringify(rows.slice(0, 5))));
}

function expressions(count) {
  let text = '';
  for (let i = 1; i <= count; i++) text += (i * 7919 % 10007) + ' ';
  const doubled = text.match(/\b(\d)\d*\1\b/g).length;
  const swapped = text.replace(/(?<high>\d+)(?<low>\d\d)\b/g, '$<low>$<high>');
  const ahead = text.match(/\d(?=3 )/g).length;
  return `${doubled} ${swapped.length} ${swapped.slice(0, 24).trim()} ${ahead}`;
}

function bigIntegers(count) {
  let a = 0n, b = 1n;
  for (let i = 0; i < count; i++) [a, b] = [b, a + b];
  return (a % 1000000007n * (1n << 61n) - (a >> 3n)) % 999999999989n;
}

// Functions that are made, run and forgotten: their code's addresses serve again, for other code.
function madeAndForgotten(count) {
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const made = new Function('n', `let s = ${i}; for (let k = 0; k < n; k++) s = (s * ${i % 7 + 2} + k) % ${1000 + i}; return s;`);
    sum += made(i % 40 === 0 ? 30000 : 10);
    if (i % 100 === 99) gc();
  }
  return sum;
}

// A WebAssembly module, in the binary format of its specification.
const unsigned = (n) => { const out = []; do { out.push((n & 127) | (n > 127 ? 128 : 0)); n >>>= 7; } while (n); return out; };
const vector = (items) => [...unsigned(items.length), ...items.flat()];
const section = (id, content) => [id, ...unsigned(content.length), ...content];
const named = (name) => vector([...name].map((letter) => [letter.charCodeAt(0)]));
const body = (locals, code) => { const all = [...vector(locals), ...code, 0x0b]; return [...unsigned(all.length), ...all]; };
const I32 = 0x7f, I64 = 0x7e, F64 = 0x7c;
const FIB = [0x20, 0, 0x41, 2, 0x48, 0x04, I32, 0x20, 0, 0x05, 0x20, 0, 0x41, 1, 0x6b, 0x10, 0, 0x20, 0, 0x41, 2, 0x6b, 0x10, 0,
  0x6a, 0x0b];
// do { x ^= x << 13; x ^= x >> 7 (unsigned); x ^= x << 17; } while (--n)
const XORSHIFT = [0x03, 0x40,
  0x20, 1, 0x20, 1, 0x42, 13, 0x86, 0x85, 0x21, 1, 0x20, 1, 0x20, 1, 0x42, 7, 0x88, 0x85, 0x21, 1,
  0x20, 1, 0x20, 1, 0x42, 17, 0x86, 0x85, 0x21, 1,
  0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1];
// do { s = s + sqrt(convert(n)) } while (--n)
const ROOTS = [0x03, 0x40, 0x20, 1, 0x20, 0, 0xb7, 0x9f, 0xa0, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1];
const LOAD = [0x20, 0, 0x28, 0x02, 0x00];
const DIVIDE = [0x41, 7, 0x20, 0, 0x6d];
const MODULE = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  ...section(1, vector([[0x60, 1, I32, 1, I32], [0x60, 2, I32, I64, 1, I64], [0x60, 1, I32, 1, F64]])),
  ...section(3, vector([[0], [1], [2], [0], [0]])),
  ...section(5, [1, 0, 1]),
  ...section(7, vector(['fib', 'xorshift', 'roots', 'load', 'divide'].map((name, i) => [...named(name), 0, i]))),
  ...section(10, vector([body([], FIB), body([], XORSHIFT), body([[1, F64]], ROOTS), body([], LOAD), body([], DIVIDE)]))]);

function refusal(call) {
  try {
    return call();
  } catch (error) {
    return `${error.constructor.name === 'RuntimeError'}`;
  }
}

function webAssembly() {
  const { fib, xorshift, roots, load, divide } = new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports;
  say('wasm fib', fib(24));
  say('wasm xorshift', BigInt.asUintN(64, xorshift(200000, 88172645463325252n)));
  say('wasm roots', bits(roots(200000)));
  say('wasm traps', [refusal(() => load(65533)), refusal(() => divide(0)), load(65532), divide(2)].join(' '));
}

const WORKERS = 3, EACH = 20000;

// A lock of three states (0 free, 1 taken, 2 taken and waited for) around a counter that is not atomic.
function work() {
  const cells = new Int32Array(workerData);
  for (let i = 0; i < EACH; i++) {
    Atomics.add(cells, 0, 1);
    if (i % 10) continue;
    let state = Atomics.compareExchange(cells, 1, 0, 1);
    while (state !== 0) {
      if (state === 2 || Atomics.compareExchange(cells, 1, 1, 2) !== 0) Atomics.wait(cells, 1, 2);
      state = Atomics.compareExchange(cells, 1, 0, 2);
    }
    cells[2] = cells[2] + 1;
    if (Atomics.sub(cells, 1, 1) !== 1) {
      Atomics.store(cells, 1, 0);
      Atomics.notify(cells, 1, 1);
    }
  }
  parentPort.postMessage(integers(100000));
}

async function workers() {
  const shared = new SharedArrayBuffer(16), cells = new Int32Array(shared);
  const results = await Promise.all(Array.from({ length: WORKERS }, () => new Promise((resolve, reject) => {
    const worker = new Worker(__filename, { workerData: shared });
    worker.once('message', resolve);
    worker.once('error', reject);
  })));
  say('workers', [cells[0], cells[1], cells[2], ...results].join(' '));
}

async function promises() {
  const order = [];
  const later = (name) => new Promise((resolve) => setImmediate(() => resolve(order.push(name))));
  process.nextTick(() => order.push('tick'));
  Promise.resolve().then(() => order.push('then'));
  order.push('first');
  await Promise.all([later('a'), later('b')]);
  let sum = 0;
  for (let i = 0; i < 3000; i++) sum += await i;
  say('promises', `${order.join(' ')} ${sum}`);
}

// Runs it as V8 pleases, then with the code of the optimizing compiler at the next call. Bit 4 of the status of a
// function: it has such code.
let optimized = 0;
function run(name, job, ...values) {
  %PrepareFunctionForOptimization(job);
  const first = String(job(...values));
  %OptimizeFunctionOnNextCall(job);
  const second = String(job(...values));
  optimized += (%GetOptimizationStatus(job) & 16) / 16;
  say(name, first === second ? first : `${first}, optimized ${second}`);
}

async function main() {
  run('integers', integers, 1000000);
  run('doubles', (rounds) => doubles(rounds).map(bits).join(' '), 300000);
  run('truncations', truncations, 20000);
  run('typed arrays', typedArrays, 60000);
  run('shapes', shapes, 20000);
  run('exceptions', exceptions, 9000);
  run('generators', generators, 50000);
  run('words', words, 30000);
  run('expressions', expressions, 10000);
  run('big integers', bigIntegers, 3000);
  say('optimized', optimized);
  say('made and forgotten', madeAndForgotten(400));
  await promises();
  await workers();
  if (typeof WebAssembly === 'object') webAssembly();
}

if (isMainThread) main(); else work();
