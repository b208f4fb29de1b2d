/** An MQTT client in a lasting session that does as the specification says when its connection breaks: it sends again, with DUP. */
import { connect, type Socket } from 'node:net'
import { generate, parser, type IPublishPacket, type Packet } from 'mqtt-packet'

interface Message {
  readonly packet: IPublishPacket
  readonly done: () => void
  /** It went out at least once. */
  sent: boolean
  /** PUBREC has come. */
  received: boolean
}

interface Ears {
  /** PUBACK or PUBREC has come: false when it is lost on its way. */
  hears(): boolean
  /** CONNACK said no. */
  refused(returnCode: number): void
}

/** How long it leaves a gateway alone that is not there, in milliseconds. */
const pause = 30

export class MqttDevice {
  readonly #port: number
  readonly #clientId: string
  readonly #ears: Ears
  /** Without an acknowledgement, in the order of sending. */
  readonly #messages = new Map<number, Message>()
  #socket: Socket | undefined
  #connected = false
  #nextId = 1
  #closed = false
  /** CONNACK has come, whatever it says. */
  #answered: PromiseWithResolvers<void> | undefined

  constructor(port: number, clientId: string, ears: Ears) {
    this.#port = port
    this.#clientId = clientId
    this.#ears = ears
    this.#connect()
  }

  /** Resolves with PUBACK, or with PUBCOMP. */
  publish(topic: string, payload: string, qos: 1 | 2): Promise<void> {
    const messageId = this.#freeId()
    const packet: IPublishPacket = { cmd: 'publish', topic, payload, qos, messageId, dup: false, retain: false }
    const { promise, resolve } = Promise.withResolvers<void>()
    const message: Message = { packet, done: resolve, sent: false, received: false }
    this.#messages.set(messageId, message)
    if (this.#connected) this.#publish(message)
    return promise
  }

  /** Breaks its connection off; resolves when it is back. */
  leave(): Promise<void> {
    this.#answered = Promise.withResolvers()
    this.#socket?.destroy()
    return this.#answered.promise
  }

  close(): void {
    this.#closed = true
    this.#socket?.destroy()
  }

  #freeId(): number {
    do this.#nextId = (this.#nextId % 65_535) + 1
    while (this.#messages.has(this.#nextId))
    return this.#nextId
  }

  #connect(): void {
    if (this.#closed) return
    const socket = connect(this.#port, '127.0.0.1')
    const parsing = parser()
    this.#socket = socket
    parsing.on('packet', (packet) => this.#take(packet))
    socket.on('data', (chunk) => parsing.parse(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#connected = false
      setTimeout(() => this.#connect(), pause)
    })
    const connecting: Packet = {
      cmd: 'connect',
      clientId: this.#clientId,
      clean: false,
      keepalive: 0,
      protocolId: 'MQTT',
    }
    socket.on('connect', () => this.#send({ ...connecting, protocolVersion: 4 }))
  }

  #take(packet: Packet): void {
    const id = packet.messageId ?? 0
    if (packet.cmd === 'connack') {
      this.#resume(packet.returnCode ?? 1)
      this.#answered?.resolve()
    }
    if (packet.cmd === 'pubcomp') this.#finish(id)
    else if (packet.cmd === 'puback' && this.#ears.hears()) this.#finish(id)
    else if (packet.cmd === 'pubrec' && this.#ears.hears()) {
      const message = this.#messages.get(id)
      if (message) message.received = true
      this.#send({ cmd: 'pubrel', messageId: id })
    }
  }

  /** [MQTT-4.4.0-1] */
  #resume(returnCode: number): void {
    if (returnCode !== 0) {
      this.#ears.refused(returnCode)
      return void this.#socket?.destroy()
    }
    this.#connected = true
    for (const [messageId, message] of this.#messages) {
      if (message.received) this.#send({ cmd: 'pubrel', messageId })
      else this.#publish(message)
    }
  }

  /** [MQTT-3.3.1-1], [MQTT-3.3.1-2] */
  #publish(message: Message): void {
    this.#send({ ...message.packet, dup: message.sent })
    message.sent = true
  }

  #finish(id: number): void {
    const message = this.#messages.get(id)
    this.#messages.delete(id)
    message?.done()
  }

  #send(packet: Packet): void {
    this.#socket?.write(generate(packet))
  }
}
