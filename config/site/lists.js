/** The rooms, the tickets and the texts: each entry is made once, and changed where it stands when news of it comes. */
import { degrees, make, when } from './dom.js'
import { plot } from './plot.js'

/** Where the sample's alarm begins; it is only drawn here, `config/handlers/temperature.ts` decides. */
const threshold = 30
const longestHistory = 100
const longestList = 50

const places = {
  rooms: document.querySelector('#rooms'),
  tickets: document.querySelector('#tickets'),
  texts: document.querySelector('#texts'),
}
const rooms = new Map()
const tickets = new Map()

/** Forgets everything: a new connection begins with all there is to know. */
export function startOver() {
  rooms.clear()
  tickets.clear()
  for (const [name, place] of Object.entries(places)) {
    place.replaceChildren()
    showEmpty(name)
  }
}

/** Adds readings of a room, in any order; a reading that is known already changes nothing. */
export function showRoom(name, readings) {
  const room = rooms.get(name) ?? addRoom(name)
  const byId = new Map([...room.readings, ...readings].map((reading) => [reading.id, reading]))
  const newestFirst = (a, b) => Date.parse(b.at) - Date.parse(a.at) || b.id - a.id
  room.readings = [...byId.values()].toSorted(newestFirst).slice(0, longestHistory)
  drawRoom(name, room)
}

function addRoom(name) {
  const room = { readings: [], element: make('article', { class: 'room' }) }
  rooms.set(name, room)
  // By name, so that a room keeps its place.
  const names = [...rooms.keys()].toSorted((a, b) => a.localeCompare(b))
  const next = rooms.get(names[names.indexOf(name) + 1])
  places.rooms.insertBefore(room.element, next?.element ?? null)
  showEmpty('rooms')
  resized.observe(room.element)
  return room
}

function drawRoom(name, { readings, element }) {
  const [latest] = readings
  if (!latest || element.clientWidth === 0) return
  element.classList.toggle('hot', latest.celsius > threshold)
  element.replaceChildren(
    make(
      'header',
      {},
      make('h3', {}, name, ' ', when(latest.at)),
      make('span', { class: 'now' }, degrees(latest.celsius)),
    ),
    plot(name, readings, { width: element.clientWidth, height: 136, threshold }),
  )
}

/** A plot is drawn at its real size, so that its letters keep theirs. */
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    for (const [name, room] of rooms) if (room.element === target) drawRoom(name, room)
  }
})

/** Puts a ticket on top, new or known. */
export function showTicket(ticket) {
  const entry = tickets.get(ticket.id) ?? addTicket(ticket.id)
  const { id, subject, from, status, messageCount, updatedAt } = ticket
  entry.summary.replaceChildren(
    make('span', { class: 'number' }, `#${id}`),
    make('span', { class: 'subject' }, subject),
    when(updatedAt),
    make(
      'span',
      { class: 'meta' },
      `${from || 'no sender'} · ${messageCount === 1 ? '1 message' : `${messageCount} messages`}`,
      status === 'open' ? undefined : make('span', { class: 'bounced' }, ` · ${status}`),
    ),
  )
  places.tickets.prepend(entry.element)
  while (tickets.size > longestList) {
    const [oldest] = [...tickets].find(([, { element }]) => element === places.tickets.lastElementChild)
    tickets.get(oldest).element.remove()
    tickets.delete(oldest)
  }
  if (entry.details.open) void showMessages(id, entry)
}

function addTicket(id) {
  const summary = make('summary')
  const body = make('div')
  const details = make('details', {}, summary, body)
  const entry = { summary, body, details, element: make('li', {}, details) }
  details.addEventListener('toggle', () => details.open && void showMessages(id, entry))
  tickets.set(id, entry)
  showEmpty('tickets')
  return entry
}

async function showMessages(id, { body }) {
  try {
    const response = await fetch(`tickets/${id}`)
    if (!response.ok) throw new Error(`the gateway answered ${response.status}`)
    const { messages } = await response.json()
    body.replaceChildren(...messages.map(messageOf))
  } catch (error) {
    body.replaceChildren(make('p', { class: 'meta' }, `The messages could not be loaded: ${error.message}`))
  }
}

function messageOf({ kind, from, at, text, attachments }) {
  const files = attachments.map(({ filename, size, url }) =>
    make(
      'li',
      {},
      make('a', { href: `.${url}`, download: filename }, filename),
      make('span', { class: 'meta' }, ` ${bytes(size)}`),
    ),
  )
  return make(
    'div',
    { class: `message ${kind}` },
    make('p', { class: 'meta' }, `${from || 'no sender'} `, when(at)),
    make('pre', {}, text.trim() || '(no text)'),
    files.length > 0 ? make('ul', {}, ...files) : undefined,
  )
}

/** Puts a text on top. */
export function showText({ from, body, answer, at }) {
  const entry = make('li', {}, make('span', { class: 'meta' }, from), when(at), make('p', {}, body || '(empty)'))
  if (answer) entry.append(make('p', { class: 'answer' }, `→ ${answer}`))
  places.texts.prepend(entry)
  while (places.texts.childElementCount > longestList) places.texts.lastElementChild.remove()
  showEmpty('texts')
}

function showEmpty(name) {
  const count = { rooms: rooms.size, tickets: tickets.size, texts: places.texts.childElementCount }[name]
  document.querySelector(`[data-empty="${name}"]`).hidden = count > 0
}

function bytes(size) {
  return size < 1024
    ? `${size} B`
    : size < 1024 ** 2
      ? `${Math.round(size / 1024)} KiB`
      : `${(size / 1024 ** 2).toFixed(1)} MiB`
}
