/** The chat: lines as they come, a form to say something. */
import { make } from './dom.js'
import { Socket } from './socket.js'

const longestLog = 200
const longestQueue = 20

export function startChat() {
  const log = document.querySelector('#chat-log')
  const form = document.querySelector('#chat-form')
  const { name: nameField, message: messageField } = form.elements
  const queue = []
  const mine = []
  let name = ''

  const flush = () => {
    while (queue.length > 0 && socket.isOpen) {
      const text = queue.shift()
      mine.push(`${name || 'Anonymous'}: ${text}`)
      socket.send(text)
    }
  }
  const show = (text) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40
    const place = mine.indexOf(text)
    if (place >= 0) mine.splice(0, place + 1)
    log.append(lineOf(text, place >= 0))
    while (log.childElementCount > longestLog) log.firstElementChild.remove()
    if (atEnd || place >= 0) log.scrollTop = log.scrollHeight
  }
  const socket = new Socket({ text: show, opened: flush })
  socket.open('chat/')

  form.addEventListener('submit', (event) => {
    event.preventDefault()
    const text = messageField.value.trim()
    if (text === '' || queue.length >= longestQueue) return
    messageField.value = ''
    messageField.focus()
    queue.push(text)
    const wanted = nameField.value.trim()
    if (wanted === name) return flush()
    // A name belongs to a connection: a new one, a new connection. What is in the queue goes out when it is open.
    name = wanted
    socket.open(`chat/?name=${encodeURIComponent(wanted)}`)
  })
}

/** `ann: hello`, or a word of the gateway's in brackets. */
function lineOf(text, isMine) {
  const colon = text.indexOf(': ')
  if (text.startsWith('[') || colon < 0) return make('li', { class: 'notice' }, text)
  return make('li', { class: isMine ? 'own' : '' }, make('b', {}, text.slice(0, colon)), ` ${text.slice(colon + 2)}`)
}
