// The page: a person's sliders, what is drawn for them in a worker, and its curves and indices.

import { charts } from "./charts.js"
import { indices, to10ms, volume } from "./indices.js"

const ALIKE = 20 // curves
const GRADES = "ABCD"
const FAILED = 3 // the grade D
const WEIGHTS = ["sampler.json", "facts.onnx", "sessions.onnx", "denoiser.onnx", "decoder.onnx"].map((file) => `model/${file}`)
const FILES = ["onnxruntime/ort-wasm-simd-threaded.wasm", ...WEIGHTS]
const COLUMNS = { fev1: ["FEV1 (L)", 2], fvc: ["FVC (L)", 2], ratio: ["FEV1/FVC", 2], pef: ["PEF (L/s)", 1] }

const root = document.querySelector("#demo")
const part = (name) => root.querySelector(`[data-part=${name}]`)
const own = (file) => new URL(file, import.meta.url)

let info, norms, worker

async function begin() {
  const answers = await Promise.all(["model/sampler.json", "model/norms.json"].map((file) => fetch(own(file))))
  if (!answers.every((answer) => answer.ok)) {
    root.innerHTML = `<p class="note">This site was built without a model: there is nothing to draw with here.
      <code>make demo</code> builds it with one, once <code>make repro</code> or you have trained it.</p>`
    return
  }
  ;[info, norms] = await Promise.all(answers.map((answer) => answer.json()))
  root.innerHTML = form()
  root.addEventListener("input", show)
  part("form").addEventListener("submit", (event) => (event.preventDefault(), draw()))
  part("another").addEventListener("click", () => (field("seed").value++, draw()))
  show()
  part("status").textContent = `The first drawing loads ${await megabytes()} MB: onnxruntime and the model.`
}

async function megabytes() {
  const heads = await Promise.all(FILES.map((file) => fetch(own(file), { method: "HEAD" })))
  return Math.round(heads.reduce((sum, head) => sum + Number(head.headers.get("content-length")), 0) / 1e6)
}

function form() {
  const [[youngest, oldest], [shortest, tallest]] = [info.made_from.age, info.made_from.height]
  const within = (value, low, high) => Math.min(Math.max(value, Math.ceil(low)), Math.floor(high))
  const slider = (name, label, unit, low, high, value) => `<label class="slider"><span>${label}</span>
    <output data-of="${name}" data-unit="${unit}"></output>
    <input type="range" name="${name}" min="${Math.ceil(low)}" max="${Math.floor(high)}" value="${within(value, low, high)}"></label>`
  const radio = (name, value, label, on) =>
    `<label><input type="radio" name="${name}" value="${value}" ${on ? "checked" : ""}> ${label}</label>`
  return `<form data-part="form">
    <fieldset><legend>The person</legend>
      ${slider("age", "Age", "years", youngest, oldest, 45)}
      ${slider("height", "Height", "cm", shortest, tallest, 175)}
      <div role="radiogroup" aria-label="Sex">${radio("sex", "male", "male", true)} ${radio("sex", "female", "female")}</div>
      <p class="note" data-part="unusual" hidden></p>
    </fieldset>
    <fieldset><legend>What is drawn</legend>
      <div role="radiogroup" aria-label="What is drawn">${radio("what", "session", "a session: the efforts of one lung", true)}
        ${radio("what", "alike", `${ALIKE} lungs alike: the best effort of each`)}</div>
      <div data-part="efforts">
        ${slider("efforts", "Efforts before a bronchodilator", "", 1, info.facts.places, 6)}
        ${slider("after", "after it (two puffs, at least ten minutes)", "", 0, info.facts.places, 2)}
      </div>
      <label class="seed"><span>Seed</span> <input type="number" name="seed" min="0" max="4294967295" step="1" value="0" required></label>
    </fieldset>
    <p class="buttons"><button class="md-button md-button--primary">Draw</button>
      <button class="md-button" type="button" data-part="another">Draw another</button></p>
    </form>
    <p data-part="status" role="status"></p><progress data-part="progress" hidden aria-label="Drawing"></progress>
    <section data-part="drawn" aria-live="polite"></section>
    <p class="source"><strong>Simulated, and not for diagnosis.</strong> No curve here is of a person. The model was trained on ${escaped(norms.trained_on)}.
      ${info.warnings.map((warning) => `Warning: ${escaped(warning)}.`).join(" ")}</p>`
}

const field = (name) => part("form").elements[name]

function asked() {
  const number = (name) => Number(field(name).value)
  return {
    person: { age: number("age"), height: number("height"), sex: field("sex").value === "male" ? 1 : 2 },
    alike: field("what").value === "alike" ? ALIKE : 0,
    efforts: number("efforts"),
    after: number("after"),
    seed: number("seed"),
  }
}

/** The values of the sliders, and a word where a height is hardly met at an age. */
function show() {
  for (const output of root.querySelectorAll("output"))
    output.textContent = `${field(output.dataset.of).value} ${output.dataset.unit}`
  part("efforts").hidden = field("what").value === "alike"
  const { age, height } = asked().person
  const [low, high] = norms[field("sex").value].heights[norms.ages.indexOf(age)]
  part("unusual").hidden = height >= low && height <= high
  part("unusual").textContent = `At ${age} years hardly anyone is ${height} cm tall; usual are ${Math.round(low)} to ${Math.round(high)} cm.`
}

function draw() {
  if (!part("form").reportValidity()) return
  const request = asked()
  worker ??= new Worker(own("worker.js"), { type: "module" })
  const buttons = root.querySelectorAll("button")
  const busy = (is) => {
    buttons.forEach((button) => (button.disabled = is))
    part("drawn").classList.toggle("stale", is)
    part("progress").hidden = !is
  }
  busy(true)
  part("progress").removeAttribute("value")
  part("status").textContent = "Loading …"
  worker.onerror = (event) => worker.onmessage({ data: { failed: event.message ?? "the worker did not start" } })
  worker.onmessage = ({ data: { done, all, drawn, failed, drawMs } }) => {
    if (done) {
      part("status").textContent = "Drawing …"
      part("progress").value = done / all
      return
    }
    busy(false)
    if (failed) part("status").textContent = `It could not be drawn: ${failed}`
    else {
      part("status").textContent = `Drawn in ${(drawMs / 1000).toFixed(1)} s, on this device.`
      present(request, drawn)
    }
  }
  worker.postMessage(request)
}

function present(request, drawn) {
  const efforts = drawn
    .map((effort) => {
      const flow = to10ms(effort.signal, info.edges_s)
      return { ...effort, flow, litres: volume(flow), found: indices(flow), look: look(effort) }
    })
    .filter((effort) => effort.found)
  const { person, alike, seed } = request
  const who = `${person.sex === 1 ? "male" : "female"}, ${person.age} years, ${person.height} cm`
  const table = alike ? spread(efforts) : session(efforts, person)
  part("drawn").innerHTML = `<h2>${who}</h2>
    ${efforts.length ? `<div class="charts">${charts(efforts).map((svg) => `<div>${svg}</div>`).join("")}</div>` : "<p>No effort has flow.</p>"}
    ${alike ? "" : legend(efforts)}<div class="scroll">${table}</div>
    <p>The same curves from the command line, with the same model:</p>
    <pre><code>spiro generate --age ${person.age} --height ${person.height} --sex ${person.sex === 1 ? "male" : "female"}${
      alike ? ` -n ${alike}` : ` -n 1 --session ${request.efforts}${request.after ? ` --after ${request.after}` : ""}`
    } --seed ${seed}</code></pre>`
  for (const row of part("drawn").querySelectorAll("tr[data-effort]")) {
    const line = part("drawn").querySelectorAll(`path[data-effort="${row.dataset.effort}"]`)
    const mark = (on) => () => line.forEach((path) => path.classList.toggle("marked", on))
    row.addEventListener("pointerenter", mark(true))
    row.addEventListener("pointerleave", mark(false))
  }
}

const look = ({ after, grade }) => `${after ? "after" : "before"} ${grade === FAILED ? "failed" : ""}`

function legend(efforts) {
  const names = { "before ": "before the bronchodilator", "after ": "after it", "before failed": "not acceptable (grade D)", "after failed": "after it, not acceptable" }
  const seen = Object.keys(names).filter((name) => efforts.some((effort) => effort.look === name))
  return `<p class="legend">${seen.map((name) => `<span><svg viewBox="0 0 30 8" aria-hidden="true"><path class="effort ${name}" d="M0 4H30"/></svg> ${names[name]}</span>`).join("")}</p>`
}

const cells = (found) => Object.entries(COLUMNS).map(([name, [, digits]]) => `<td>${found[name].toFixed(digits)}</td>`).join("")
const head = (first) => `<thead><tr>${first.map((name) => `<th scope="col">${name}</th>`).join("")}${Object.values(COLUMNS).map(([label]) => `<th scope="col">${label}</th>`).join("")}</tr></thead>`

/** Of many lungs: the lowest, the middle and the highest of each index. */
function spread(efforts) {
  const sorted = (name) => efforts.map((effort) => effort.found[name]).sort((a, b) => a - b)
  const row = (label, place) => `<tr><th scope="row">${label}</th>${cells(Object.fromEntries(Object.keys(COLUMNS).map((name) => [name, place(sorted(name))])))}</tr>`
  const middle = (values) => (values[Math.floor((values.length - 1) / 2)] + values[Math.ceil((values.length - 1) / 2)]) / 2
  return `<table>${head([`Of ${efforts.length} lungs`])}<tbody>${row("highest", (v) => v.at(-1))}${row("median", middle)}${row("lowest", (v) => v[0])}</tbody></table>`
}

/** Of one lung: every effort, the best values before and after, and the change. */
function session(efforts, person) {
  const rows = []
  const bests = {}
  for (const after of [false, true]) {
    const blown = efforts.filter((effort) => effort.after === after)
    if (!blown.length) continue
    const name = after ? "After the bronchodilator" : "Before the bronchodilator"
    rows.push(`<tr class="part"><th scope="rowgroup" colspan="6">${name}</th></tr>`)
    for (const effort of blown)
      rows.push(`<tr data-effort="${efforts.indexOf(effort)}"><th scope="row">${effort.place}</th><td>${GRADES[effort.grade]}</td>${cells(effort.found)}</tr>`)
    const best = bestOf(blown.filter((effort) => effort.grade < FAILED))
    if (!best) {
      rows.push(`<tr class="best"><th scope="row">Best</th><td colspan="5">none: no effort is acceptable</td></tr>`)
      continue
    }
    bests[after] = best
    rows.push(`<tr class="best"><th scope="row" colspan="2">Best</th>${cells(best)}</tr>`)
    const normed = (text) => ["fev1", "fvc", "ratio"].map((index) => `<td>${text(norm(index, person), best[index])}</td>`).join("") + "<td>–</td>"
    rows.push(`<tr><th scope="row" colspan="2">% of predicted</th>${normed((lms, value) => ((100 * value) / lms.m).toFixed(0))}</tr>`)
    rows.push(`<tr><th scope="row" colspan="2">z-score</th>${normed((lms, value) => signed((((value / lms.m) ** lms.l - 1) / (lms.l * lms.s)).toFixed(2)))}</tr>`)
  }
  if (bests.true && bests.false) {
    const gained = (name, digits) => `<td>${signed((bests.true[name] - bests.false[name]).toFixed(digits))}</td>`
    const share = (name) => `<td>${signed(((100 * (bests.true[name] - bests.false[name])) / norm(name, person).m).toFixed(0))} %</td>`
    rows.push(`<tr class="part"><th scope="rowgroup" colspan="6">Change of the best</th></tr>`)
    rows.push(`<tr><th scope="row" colspan="2">as it is</th>${gained("fev1", 2)}${gained("fvc", 2)}${gained("ratio", 2)}${gained("pef", 1)}</tr>`)
    rows.push(`<tr><th scope="row" colspan="2">of predicted</th>${share("fev1")}${share("fvc")}<td>–</td><td>–</td></tr>`)
  }
  return `<table>${head(["Effort", "Grade"])}<tbody>${rows.join("")}</tbody></table>
    <p class="small">Best: the largest FEV1, FVC and PEF of the efforts of grade A to C, and FEV1/FVC of these two. The grade is drawn
    too: A to C can be used, D cannot. Predicted and z by GLI Global 2022.</p>`
}

function bestOf(efforts) {
  if (!efforts.length) return null
  const largest = (name) => Math.max(...efforts.map((effort) => effort.found[name]))
  return { fev1: largest("fev1"), fvc: largest("fvc"), ratio: largest("fev1") / largest("fvc"), pef: largest("pef") }
}

/** L, M and S of GLI Global for an index of a person. */
function norm(index, { age, height, sex }) {
  const [l, at165, s, power] = norms[sex === 1 ? "male" : "female"][index][norms.ages.indexOf(age)]
  return { l, m: at165 * (height / 165) ** power, s }
}

const signed = (text) => (Number(text) > 0 ? `+${text}` : text.replace("-", "−"))

function escaped(text) {
  return String(text).replace(/[&<>"]/g, (mark) => `&#${mark.charCodeAt(0)};`)
}

await begin()
