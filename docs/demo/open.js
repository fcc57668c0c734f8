// The sampler of the model in this folder, by the onnxruntime-web that vendor.py put beside it. One thread: several
// would need headers (COOP, COEP) that plain web servers do not send.

import { load } from "./sampler.js"

export async function open() {
  const here = (file) => new URL(file, import.meta.url).href
  const ort = await import("./onnxruntime/ort.js")
  ort.env.wasm.numThreads = 1
  ort.env.wasm.wasmPaths = { mjs: here("onnxruntime/ort-wasm.js"), wasm: here("onnxruntime/ort.wasm") }
  return load(ort, here("model/"))
}
