/**
 * What an application may receive and send, as types. Nothing here runs: `tsc` checks that what is right compiles, and that
 * each line behind `@ts-expect-error` does not.
 */
import type {
  Application,
  EmailProtocol,
  HttpProtocol,
  MqttProtocol,
  Scope,
  SmsProtocol,
  WebsocketProtocol,
} from 'signalbox'

export const http: Application<HttpProtocol> = async (scope, receive, send) => {
  const event = await receive()
  if (event.type === 'http.request') event.body satisfies Uint8Array
  // @ts-expect-error -- a request has no text of its own
  if (event.type === 'http.request') event.text satisfies string
  // @ts-expect-error -- a WebSocket's event never comes over HTTP
  if (event.type === 'websocket.receive') return
  await send({ type: 'http.response.start', status: 200, headers: [['content-type', scope.method]] })
  await send({ type: 'http.response.body', body: 'hello', moreBody: false })
  // @ts-expect-error -- an MQTT event on an HTTP scope
  await send({ type: 'mqtt.publish', topic: 'a', payload: 'b' })
  // @ts-expect-error -- a misspelt type
  await send({ type: 'http.response.strat', status: 200 })
  // @ts-expect-error -- a status is a number
  await send({ type: 'http.response.start', status: '200' })
  // @ts-expect-error -- without its status
  await send({ type: 'http.response.start' })
  // @ts-expect-error -- a misspelt field
  await send({ type: 'http.response.body', body: '', more: true })
}

export const websocket: Application<WebsocketProtocol> = async (scope, _receive, send, context) => {
  scope.subprotocols satisfies readonly string[]
  // @ts-expect-error -- a WebSocket has no method
  scope.method satisfies string
  // @ts-expect-error -- a scope is handed on as a copy, never changed
  scope.path = '/elsewhere'
  await send({ type: 'websocket.accept' })
  await send({ type: 'websocket.send', text: context.channel })
  // @ts-expect-error -- an HTTP response is not how a handshake is refused
  await send({ type: 'http.response.start', status: 403 })
  // @ts-expect-error -- what is received is not what is sent
  await send({ type: 'websocket.receive', text: 'hello' })
}

export const mqtt: Application<MqttProtocol> = async (_scope, receive, send) => {
  const event = await receive()
  if (event.type === 'mqtt.publish') event.params satisfies Readonly<Record<string, string>>
  await send({ type: 'mqtt.publish', topic: 'a/b', payload: '1', qos: 1, retain: true })
  // @ts-expect-error -- there is no QoS 3
  await send({ type: 'mqtt.publish', topic: 'a/b', payload: '1', qos: 3 })
}

export const email: Application<EmailProtocol> = async (scope, receive, send) => {
  const { subject } = await receive()
  await send({ type: 'email.reply', text: `${scope.recipient}: ${subject}` })
  // @ts-expect-error -- a mail is not answered with a text
  await send({ type: 'sms.reply', body: subject })
  // @ts-expect-error -- a new mail names whom it goes to
  await send({ type: 'email.send', subject, text: '' })
}

export const sms: Application<SmsProtocol> = async (scope, _receive, send) => {
  await send({ type: 'sms.reply', body: scope.from })
  // @ts-expect-error -- a text is not answered by mail
  await send({ type: 'email.reply', text: 'no' })
}

/** The union of the registered protocols' scopes: `type` tells them apart, and every one is known. */
export function address(scope: Scope): string {
  switch (scope.type) {
    case 'http':
    case 'websocket':
      return scope.path
    case 'mqtt':
      return scope.clientId
    case 'email':
      return scope.recipient
    case 'sms':
      return scope.from
    // @ts-expect-error -- no such protocol is registered
    case 'fax':
      return ''
    default:
      return scope satisfies never
  }
}

// @ts-expect-error -- an unregistered scope
export const fax: Scope = { type: 'fax', id: '', client: null, server: null, params: {}, route: '', state: {} }

// @ts-expect-error -- a registered type with another's fields
export const half: Scope = { ...({} as EmailProtocol['scope']), type: 'sms' }
