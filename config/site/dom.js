/** Builds elements. Data becomes text and attributes, never markup. */

/** `make('a', { href: url, class: 'big' }, 'Read on', child)`; a child that is undefined is left out. */
export function make(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children)
}

/** The same for SVG. */
export function draw(name, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children)
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  element.append(...children.filter((child) => child !== undefined))
  return element
}

/** The reader's language, with the day's 24 hours. */
const clock = (also) =>
  new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...also })
export const toTheMinute = clock()
export const toTheSecond = clock({ second: '2-digit' })
const withDay = clock({ day: 'numeric', month: 'short' })
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long' })

/** A time as short as it can be said, with the whole of it behind. */
export function when(iso) {
  const date = new Date(iso)
  const isToday = date.toDateString() === new Date().toDateString()
  return make('time', { datetime: iso, title: exact.format(date) }, (isToday ? toTheSecond : withDay).format(date))
}

/** A command on one line, with a button that copies it. */
export function command(text) {
  const button = make('button', { type: 'button', 'aria-label': `Copy: ${text}` }, 'Copy')
  const code = make('code', {}, text)
  button.addEventListener('click', async () => {
    button.textContent = (await copy(code)) ? 'Copied' : 'Selected'
    setTimeout(() => (button.textContent = 'Copy'), 1500)
  })
  return make('span', { class: 'command' }, code, button)
}

/** The clipboard is there on https and localhost only; elsewhere the text is selected for Ctrl+C. */
async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent)
    return true
  } catch {
    getSelection().selectAllChildren(element)
    return false
  }
}

/** `−2.8 °C`, with a true minus. */
export function degrees(celsius, unit = ' °C') {
  return `${celsius}${unit}`.replace('-', '−')
}
