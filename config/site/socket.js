/** A WebSocket that comes back: each try waits longer, and by chance, so that a restarted gateway is not stormed. */

const shortest = 500
const longest = 30_000

export class Socket {
  #path
  #hooks
  #socket
  #failures = 0
  #timer

  /** `hooks`: `opened()`, `text(text)`, and `state(name, seconds)` with `connecting`, `open` or `waiting`. */
  constructor(hooks) {
    this.#hooks = hooks
    addEventListener('online', () => this.#retryNow())
    document.addEventListener('visibilitychange', () => document.hidden || this.#retryNow())
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  /** Opens this path, instead of the one before. */
  open(path) {
    this.#path = path
    this.#failures = 0
    this.#connect()
  }

  send(text) {
    this.#socket.send(text)
  }

  #connect() {
    clearTimeout(this.#timer)
    const before = this.#socket
    const url = new URL(this.#path, document.baseURI)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    const socket = new WebSocket(url)
    this.#socket = socket
    before?.close()
    this.#hooks.state?.('connecting')

    socket.addEventListener('open', () => {
      if (socket !== this.#socket) return
      this.#hooks.state?.('open')
      this.#hooks.opened?.()
    })
    socket.addEventListener('message', ({ data }) => {
      if (socket !== this.#socket) return
      // Only a gateway that has something to say is well again: one that accepts and hangs up is not.
      this.#failures = 0
      this.#hooks.text(data)
    })
    socket.addEventListener('close', () => {
      if (socket === this.#socket) this.#wait()
    })
  }

  #wait() {
    const most = Math.min(longest, shortest * 2 ** this.#failures++)
    const delay = most * (0.5 + Math.random() / 2)
    this.#hooks.state?.('waiting', Math.ceil(delay / 1000))
    this.#timer = setTimeout(() => this.#connect(), delay)
  }

  #retryNow() {
    if (this.#socket?.readyState === WebSocket.CLOSED) this.#connect()
  }
}
