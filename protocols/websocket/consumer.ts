/** The base class of consumers for WebSocket. */
import { Consumer } from '../../src/consumers/consumer.ts'
import { reason } from '../../src/runtime/errors.ts'
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
export class WebsocketConsumer extends Consumer<WebsocketProtocol> {
  protected readonly lastEvent = 'websocket.disconnect'

  protected override disconnectEvent(error: unknown): WebsocketDisconnect {
    return { type: 'websocket.disconnect', code: 1011, reason: reason(error) }
  }

  /** The handshake waits: accept it (as this does when it is not overridden), or `close()` to refuse it with 403. */
  async connect(): Promise<void> {
    await this.accept()
  }

  receiveText(_text: string): void | Promise<void> {}

  receiveBytes(_bytes: Uint8Array): void | Promise<void> {}

  /** Always called at the end, also when a handler raised; the socket is gone. 1005: no code came; 1006: it broke. */
  disconnect(_code: number, _reason: string): void | Promise<void> {}

  /** Completes the handshake. `subprotocol` is one of `scope.subprotocols`. */
  accept(answer: Omit<WebsocketAccept, 'type'> = {}): Promise<void> {
    return this.send({ type: 'websocket.accept', ...answer })
  }

  sendText(text: string): Promise<void> {
    return this.send({ type: 'websocket.send', text })
  }

  sendBytes(bytes: Uint8Array): Promise<void> {
    return this.send({ type: 'websocket.send', bytes })
  }

  /** @throws TypeError for what JSON cannot say. */
  sendJson(value: unknown): Promise<void> {
    return this.sendText(JSON.stringify(value))
  }

  /** Before accept: refuses with 403. After: closes; `code` is 1000, another sendable one of RFC 6455 7.4, or 3000 to 4999. */
  close(code = 1000, reason = ''): Promise<void> {
    return this.send({ type: 'websocket.close', code, reason })
  }

  /** Before accept: refuses with a response of its own, such as `refuse(401, 'who are you?')`. */
  async refuse(status: number, body: string | Uint8Array = '', headers: WebsocketScope['headers'] = []): Promise<void> {
    await this.send({ type: 'websocket.http.response.start', status, headers })
    await this.send({ type: 'websocket.http.response.body', body })
  }

  async 'websocket.connect'(_event: WebsocketConnect): Promise<void> {
    await this.connect()
  }

  async 'websocket.receive'({ text, bytes }: WebsocketReceive): Promise<void> {
    if (text !== undefined) await this.receiveText(text)
    else if (bytes !== undefined) await this.receiveBytes(bytes)
  }

  async 'websocket.disconnect'({ code, reason }: WebsocketDisconnect): Promise<void> {
    await this.disconnect(code, reason)
  }
}
