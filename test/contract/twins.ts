/** A consumer a protocol, written twice with the conveniences of its base class: asynchronous, and blocking. */
import { createHash } from 'node:crypto'
import { EmailConsumer, SyncEmailConsumer } from '../../protocols/email/consumer.ts'
import type { EmailMessage } from '../../protocols/email/scope.ts'
import { HttpConsumer } from '../../protocols/http/consumer.ts'
import type { HttpRequestReader, SyncHttpRequest } from '../../protocols/http/request.ts'
import { SyncHttpConsumer } from '../../protocols/http/sync-consumer.ts'
import { MqttConsumer, SyncMqttConsumer } from '../../protocols/mqtt/consumer.ts'
import type { MqttPublish } from '../../protocols/mqtt/scope.ts'
import { SmsConsumer, SyncSmsConsumer } from '../../protocols/sms/consumer.ts'
import type { SmsMessage, SmsStatus } from '../../protocols/sms/scope.ts'
import { ChannelConsumer, SyncChannelConsumer } from '../../src/consumers/channel-consumer.ts'
import { SyncWebsocketConsumer, WebsocketConsumer } from '../../protocols/websocket/consumer.ts'
import type { WebsocketScope } from '../../protocols/websocket/scope.ts'

const failure = () => Object.assign(new RangeError('as told'), { code: 'E_TOLD' })
const hash = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const quiet = 'nothing to say'

const subprotocolOf = ({ subprotocols: [subprotocol] }: WebsocketScope) =>
  subprotocol === undefined ? {} : { subprotocol }

interface Work {
  readonly type: 'image.hash'
  readonly bytes: Uint8Array
}

interface Word {
  readonly type: 'chat.word'
  readonly text: string
}

export class HttpAsync extends HttpConsumer {
  override async handle(request: HttpRequestReader): Promise<Response> {
    const { method, path, query, headers } = request
    if (path === '/json') return Response.json({ method, name: query.get('name'), got: await request.json() })
    if (path === '/head') return new Response(null, { status: 204, headers: { 'x-told': headers.get('x-told') ?? '' } })
    const text = await request.text()
    if (text === 'raise') throw failure()
    if (text === 'refuse') throw new Response('not yours', { status: 403 })
    return new Response(text, { status: 200, headers: { 'content-type': 'text/plain' } })
  }
}
export class HttpSync extends SyncHttpConsumer {
  override handle(request: SyncHttpRequest) {
    const { method, path, query, headers } = request
    if (path === '/json') return { json: { method, name: query.get('name'), got: request.json() } }
    if (path === '/head') return { status: 204, headers: { 'x-told': headers.get('x-told') ?? '' } }
    const text = request.text()
    if (text === 'raise') throw failure()
    // oxlint-disable-next-line typescript/only-throw-error -- an answer that is thrown is the answer
    if (text === 'refuse') throw { status: 403, body: 'not yours' }
    return { body: text, headers: { 'content-type': 'text/plain' } }
  }
}

export class WebsocketAsync extends WebsocketConsumer {
  override readonly groups = ['chat']
  #count = 0
  override async connect() {
    if (this.scope.path === '/refused') await this.refuse(401, 'who are you?', [['www-authenticate', 'Basic']])
    else await this.accept(subprotocolOf(this.scope))
  }
  override async receiveText(text: string) {
    this.#count++
    if (text === 'raise') throw failure()
    if (text === 'close') await this.close(4001, 'as told')
    else if (text === 'count') await this.sendJson({ count: this.#count })
    else if (text === 'everyone') await this.groupSend('chat', { type: 'chat.word', text: 'all' })
    else await this.sendText(text)
  }
  override async receiveBytes(bytes: Uint8Array) {
    await this.sendBytes(bytes.toReversed())
  }
  async 'chat.word'({ text }: Word) {
    await this.sendText(`word: ${text}`)
  }
  override async disconnect(code: number) {
    await this.groupSend('ends', { type: 'chat.word', text: `${code} ${this.#count}` })
  }
}
export class WebsocketSync extends SyncWebsocketConsumer {
  override readonly groups = ['chat']
  #count = 0
  override connect() {
    if (this.scope.path === '/refused') this.refuse(401, 'who are you?', [['www-authenticate', 'Basic']])
    else this.accept(subprotocolOf(this.scope))
  }
  override receiveText(text: string) {
    this.#count++
    if (text === 'raise') throw failure()
    if (text === 'close') this.close(4001, 'as told')
    else if (text === 'count') this.sendJson({ count: this.#count })
    else if (text === 'everyone') this.groupSend('chat', { type: 'chat.word', text: 'all' })
    else this.sendText(text)
  }
  override receiveBytes(bytes: Uint8Array) {
    this.sendBytes(bytes.toReversed())
  }
  'chat.word'({ text }: Word) {
    this.sendText(`word: ${text}`)
  }
  override disconnect(code: number) {
    this.groupSend('ends', { type: 'chat.word', text: `${code} ${this.#count}` })
  }
}

export class MqttAsync extends MqttConsumer {
  #sum = 0
  override async connect() {
    if (this.scope.clientId === 'refused') await this.close()
    else await this.accept()
  }
  override async message({ payload }: MqttPublish) {
    const text = Buffer.from(payload).toString()
    if (text === 'raise') throw failure()
    if (text === 'close') return await this.close()
    this.#sum += text.length
    await this.publish('answers', text, { direct: true })
    await this.publish('sums', Buffer.from(String(this.#sum)), { qos: 1, retain: true })
  }
  override async subscribed(filter: string, qos: number) {
    await this.publish('told', `${filter} ${qos}`)
  }
  override async unsubscribed(filter: string) {
    await this.publish('told', filter)
  }
  override async disconnect(reason: string) {
    await this.publish('last', reason)
  }
}
export class MqttSync extends SyncMqttConsumer {
  #sum = 0
  override connect() {
    if (this.scope.clientId === 'refused') this.close()
    else this.accept()
  }
  override message({ payload }: MqttPublish) {
    const text = Buffer.from(payload).toString()
    if (text === 'raise') throw failure()
    if (text === 'close') return this.close()
    this.#sum += text.length
    this.publish('answers', text, { direct: true })
    this.publish('sums', Buffer.from(String(this.#sum)), { qos: 1, retain: true })
  }
  override subscribed(filter: string, qos: number) {
    this.publish('told', `${filter} ${qos}`)
  }
  override unsubscribed(filter: string) {
    this.publish('told', filter)
  }
  override disconnect(reason: string) {
    this.publish('last', reason)
  }
}

export class EmailAsync extends EmailConsumer {
  override async message({ subject, text, attachments }: EmailMessage) {
    if (text.startsWith('raise')) throw failure()
    if (text.startsWith('refuse')) return await this.reject(554, '5.7.1 as told')
    if (text.startsWith('later')) return await this.reject(450)
    if (text.startsWith(quiet)) return
    const files = attachments.map(({ filename, content }) => `${filename} ${hash(content)}`)
    await this.reply({ text: [subject, text.trim(), ...files].join('\n') })
    await this.sendMail({ to: ['boss@example.org'], subject: `Re: ${subject}`, text: this.scope.recipient })
  }
}
export class EmailSync extends SyncEmailConsumer {
  override message({ subject, text, attachments }: EmailMessage) {
    if (text.startsWith('raise')) throw failure()
    if (text.startsWith('refuse')) return this.reject(554, '5.7.1 as told')
    if (text.startsWith('later')) return this.reject(450)
    if (text.startsWith(quiet)) return
    const files = attachments.map(({ filename, content }) => `${filename} ${hash(content)}`)
    this.reply({ text: [subject, text.trim(), ...files].join('\n') })
    this.sendMail({ to: ['boss@example.org'], subject: `Re: ${subject}`, text: this.scope.recipient })
  }
}

export class SmsAsync extends SmsConsumer {
  override async message({ body, media, segments }: SmsMessage) {
    if (body === 'raise') throw failure()
    if (body === quiet) return
    await this.reply(body)
    if (body !== 'long') return
    await this.reply(`${segments} ${media.length}`, { media: ['https://example.org/a.png'] })
    await this.sendSms('+14155550123', 'and you?')
  }
  override async status({ status }: SmsStatus) {
    await this.sendSms('+14155550123', status)
  }
}
export class SmsSync extends SyncSmsConsumer {
  override message({ body, media, segments }: SmsMessage) {
    if (body === 'raise') throw failure()
    if (body === quiet) return
    this.reply(body)
    if (body !== 'long') return
    this.reply(`${segments} ${media.length}`, { media: ['https://example.org/a.png'] })
    this.sendSms('+14155550123', 'and you?')
  }
  override status({ status }: SmsStatus) {
    this.sendSms('+14155550123', status)
  }
}

export class ChannelAsync extends ChannelConsumer {
  override readonly groups = ['pictures']
  async 'image.hash'({ bytes }: Work) {
    if (bytes.length === 0) throw failure()
    await this.groupSend('hashes', { type: 'image.hashed', hash: hash(bytes), channel: this.scope.channel })
  }
}
export class ChannelSync extends SyncChannelConsumer {
  override readonly groups = ['pictures']
  'image.hash'({ bytes }: Work) {
    if (bytes.length === 0) throw failure()
    this.groupSend('hashes', { type: 'image.hashed', hash: hash(bytes), channel: this.scope.channel })
  }
}
