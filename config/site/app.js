/** The live page: one socket tells what comes in; each kind of news has its own part of the page. */
import { startChat } from './chat.js'
import { command, make } from './dom.js'
import { showRoom, showText, showTicket, startOver } from './lists.js'
import { Socket } from './socket.js'

const commands = {
  http: `curl ${new URL('gethostbyname/localhost', document.baseURI)}`,
  websocket: 'npx signalbox send websocket /chat/ hello',
  mqtt: 'npx signalbox send mqtt sensors/kitchen/temperature 21.5',
  email: 'npx signalbox send email help@support.org "My printer is on fire"',
  sms: 'npx signalbox send sms +14155550100 "TEMP kitchen"',
}
for (const place of document.querySelectorAll('[data-command]')) place.append(command(commands[place.dataset.command]))

const still = matchMedia('(prefers-reduced-motion: reduce)')

/** New numbers; with `lit` the lamp of each protocol that got something lights up for a moment. */
function showCounters(counters, lit) {
  for (const [protocol, count] of Object.entries(counters)) {
    const counter = document.querySelector(`#counters [data-protocol="${CSS.escape(protocol)}"]`)
    const number = counter?.querySelector('dd')
    const text = count.toLocaleString()
    if (!number || number.textContent === text) continue
    number.textContent = text
    if (lit && !still.matches) light(counter.querySelector('.lamp'))
  }
}

function light(lamp) {
  const green = getComputedStyle(lamp).getPropertyValue('--go')
  lamp.animate([{ background: green, boxShadow: `0 0 0 4px color-mix(in srgb, ${green} 25%, transparent)` }, {}], {
    duration: 1200,
    easing: 'ease-out',
  })
}

const news = {
  snapshot({ counters, rooms, tickets, texts }) {
    startOver()
    showCounters(counters, false)
    for (const { room, history } of rooms) showRoom(room, history)
    for (const ticket of tickets.toReversed()) showTicket(ticket)
    for (const text of texts.toReversed()) showText(text)
  },
  counters: ({ counters }) => showCounters(counters, true),
  reading: ({ room, ...reading }) => showRoom(room, [reading]),
  ticket: ({ ticket }) => showTicket(ticket),
  text: (text) => showText(text),
}

const connection = document.querySelector('#connection')
const states = {
  open: () => 'live',
  connecting: () => 'connecting …',
  waiting: (seconds) => `no connection, next try in ${seconds} s`,
}

const live = new Socket({
  text(json) {
    const update = JSON.parse(json)
    news[update.kind]?.(update)
  },
  state(name, seconds) {
    connection.dataset.state = name
    connection.replaceChildren(make('span', {}, states[name](seconds)))
  },
})
live.open('live/')
startChat()
