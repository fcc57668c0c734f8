// Draws beside the page, which stays responsive meanwhile. Everything is loaded from the site's own folder.

import { open } from "./open.js"
import { BEST_EFFORT } from "./sampler.js"

let opened = null

onmessage = async ({ data: { person, alike, efforts, after, seed } }) => {
  try {
    opened ??= open()
    const sampler = await opened
    sampler.progress = (done, all) => postMessage({ done, all })
    const begun = performance.now()
    const drawn = alike
      ? (await sampler.draw([{ ...person, ...BEST_EFFORT }], alike, seed)).map((signal) => ({ signal }))
      : await sampler.sessions([person], 1, efforts, after, seed)
    postMessage({ drawn, drawMs: performance.now() - begun })
  } catch (error) {
    opened = null // a broken connection may be mended
    postMessage({ failed: error.message })
  }
}
