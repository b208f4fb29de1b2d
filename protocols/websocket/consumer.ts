/** The base classes of consumers for WebSocket. */
import type { Async, Kind, Sync } from '../../src/asgi/sync.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { blocking } from '../../src/runtime/blocking.ts'
import { reason } from '../../src/runtime/errors.ts'
import { serves, type Serves } from '../../src/runtime/serves.ts'
import type {
  WebsocketAccept,
  WebsocketConnect,
  WebsocketDisconnect,
  WebsocketProtocol,
  WebsocketReceive,
  WebsocketScope,
} from './scope.ts'

/**
 * One object a socket.
 *
 * @example
 * class Echo extends WebsocketConsumer {
 *   override async receiveText(text: string) {
 *     await this.sendText(text)
 *   }
 * }
 */
export class WebsocketConsumer<K extends Kind = Async> extends Consumer<WebsocketProtocol, K> {
  /** It may do nothing but accept, and send what its groups are told. */
  static override readonly [serves]: Serves = {
    protocols: ['websocket'],
    methods: ['connect', 'receiveText', 'receiveBytes', 'disconnect'],
    optional: true,
  }
  protected readonly lastEvent = 'websocket.disconnect'

  protected override disconnectEvent(error: unknown): WebsocketDisconnect {
    return { type: 'websocket.disconnect', code: 1011, reason: reason(error) }
  }

  /** The handshake waits: accept it (as this does when it is not overridden), or `close()` to refuse it with 403. */
  connect(): void | Promise<void> {
    return this.accept()
  }

  receiveText(_text: string): void | Promise<void> {}

  receiveBytes(_bytes: Uint8Array): void | Promise<void> {}

  /** Always called at the end, also when a handler raised; the socket is gone. 1005: no code came; 1006: it broke. */
  disconnect(_code: number, _reason: string): void | Promise<void> {}

  /** Completes the handshake. `subprotocol` is one of `scope.subprotocols`. */
  accept(answer: Omit<WebsocketAccept, 'type'> = {}): K['sent'] {
    return this.send({ type: 'websocket.accept', ...answer })
  }

  sendText(text: string): K['sent'] {
    return this.send({ type: 'websocket.send', text })
  }

  sendBytes(bytes: Uint8Array): K['sent'] {
    return this.send({ type: 'websocket.send', bytes })
  }

  /** @throws TypeError for what JSON cannot say. */
  sendJson(value: unknown): K['sent'] {
    return this.sendText(JSON.stringify(value))
  }

  /** Before accept: refuses with 403. After: closes; `code` is 1000, another sendable one of RFC 6455 7.4, or 3000 to 4999. */
  close(code = 1000, reason = ''): K['sent'] {
    return this.send({ type: 'websocket.close', code, reason })
  }

  /** Before accept: refuses with a response of its own, such as `refuse(401, 'who are you?')`. */
  refuse(status: number, body: string | Uint8Array = '', headers: WebsocketScope['headers'] = []): K['sent'] {
    const started: Kind['sent'] = this.send({ type: 'websocket.http.response.start', status, headers })
    const finish = () => this.send({ type: 'websocket.http.response.body', body })
    return started ? started.then(finish) : finish()
  }

  'websocket.connect'(_event: WebsocketConnect): void | Promise<void> {
    return this.connect()
  }

  'websocket.receive'(event: WebsocketReceive): void | Promise<void> {
    const { text, bytes } = event
    if (text !== undefined) {
      if (this.receiveText === WebsocketConsumer.prototype.receiveText) return this.unheard(event, 'receiveText(text)')
      return this.receiveText(text)
    }
    if (bytes === undefined) return undefined
    if (this.receiveBytes === WebsocketConsumer.prototype.receiveBytes)
      return this.unheard(event, 'receiveBytes(bytes)')
    return this.receiveBytes(bytes)
  }

  'websocket.disconnect'({ code, reason }: WebsocketDisconnect): void | Promise<void> {
    return this.disconnect(code, reason)
  }
}

/**
 * The same for handlers that block: one object a socket, which lives on one worker thread, with plain methods.
 *
 * @example
 * export class Thumbnails extends SyncWebsocketConsumer {
 *   override receiveBytes(bytes: Uint8Array) {
 *     this.sendBytes(shrink(bytes))
 *   }
 * }
 */
export class SyncWebsocketConsumer extends WebsocketConsumer<Sync> {
  static readonly [blocking]: boolean = true
  static readonly moveBytes: boolean = false
}
