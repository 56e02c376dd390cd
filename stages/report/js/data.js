"use strict";
// What the page carries, unpacked; stages/report/packing.py tells how it lies there.

const TYPES = {i1: Int8Array, i2: Int16Array, i4: Int32Array, f8: Float64Array};

async function inflate(text) {
  const packed = atob(text.trim());
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function unpack(text) {
  const raw = await inflate(text);
  const size = new DataView(raw.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(raw.subarray(4, 4 + size)));
  const arrays = {};
  let at = 4 + size;
  for (const [name, [kind, count]] of Object.entries(header.arrays)) {
    const width = TYPES[kind].BYTES_PER_ELEMENT;
    const whole = new Uint8Array(count * width);
    for (let plane = 0; plane < width; plane++) {
      for (let i = 0; i < count; i++) whole[i * width + plane] = raw[at++];
    }
    arrays[name] = new TYPES[kind](whole.buffer);
  }
  return {facts: header.facts, arrays};
}
