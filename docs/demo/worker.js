// Draws beside the page, which stays responsive meanwhile. Everything is loaded from the site's own folder.

import { BEST_EFFORT, load } from "./sampler.js"

let opened = null

async function open() {
  const ort = await import("./onnxruntime/ort.wasm.min.mjs")
  ort.env.wasm.numThreads = 1 // several would need headers (COOP, COEP) that plain web servers do not send
  return load(ort, new URL("model/", import.meta.url))
}

onmessage = async ({ data: { person, alike, efforts, after, seed } }) => {
  try {
    const begun = performance.now()
    opened ??= open()
    const sampler = await opened
    const loaded = performance.now()
    sampler.told = (done, all) => postMessage({ done, all })
    const drawn = alike
      ? (await sampler.draw([{ ...person, ...BEST_EFFORT }], alike, seed)).map((signal) => ({ signal }))
      : await sampler.sessions([person], 1, efforts, after, seed)
    postMessage({ drawn, loadMs: loaded - begun, drawMs: performance.now() - loaded })
  } catch (error) {
    opened = null // a broken connection may be mended
    postMessage({ failed: error.message })
  }
}
