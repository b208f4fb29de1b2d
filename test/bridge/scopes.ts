/** One scope of each protocol, and the mail that several tests send. */
import type { EmailMessage, EmailScope } from '../../protocols/email/scope.ts'
import type { HttpScope } from '../../protocols/http/scope.ts'
import type { MqttScope } from '../../protocols/mqtt/scope.ts'
import type { SmsScope } from '../../protocols/sms/scope.ts'
import type { WebsocketScope } from '../../protocols/websocket/scope.ts'

let nextId = 1

const base = () => ({
  id: `scope-${nextId++}`,
  client: ['127.0.0.1', 50_000] as const,
  server: ['127.0.0.1', 8000] as const,
  params: { room: 'kitchen' },
  route: 'gateway.yaml:7',
  state: { data: '/tmp', nested: { list: [1, 2] } },
})
const url = {
  httpVersion: '1.1',
  path: '/chat/',
  rawPath: '/chat/',
  queryString: 'a=b',
  rootPath: '',
  headers: [['host', 'x']] as const,
}

export const websocketScope = (): WebsocketScope => ({
  ...base(),
  ...url,
  type: 'websocket',
  scheme: 'ws',
  subprotocols: ['chat'],
})
export const httpScope = (): HttpScope => ({ ...base(), ...url, type: 'http', scheme: 'http', method: 'POST' })
export const mqttScope = (): MqttScope => ({
  ...base(),
  type: 'mqtt',
  clientId: 'device-1',
  username: '',
  protocolVersion: 4,
  clean: true,
  keepalive: 60,
})
export const emailScope = (): EmailScope => ({
  ...base(),
  type: 'email',
  recipient: 'help@support.org',
  tag: '',
  sender: 'ann@example.org',
  helo: 'client.example.org',
  secure: false,
})
export const smsScope = (kind: SmsScope['kind'] = 'message'): SmsScope => ({
  ...base(),
  type: 'sms',
  kind,
  from: '+14155550100',
  to: '+15005550006',
  messageSid: 'SM1',
  accountSid: 'AC1',
})

export const mail = (parts: Partial<EmailMessage> = {}): EmailMessage => ({
  type: 'email.message',
  raw: Buffer.from('Subject: fire\r\n\r\nhot'),
  headers: [['subject', 'fire']],
  messageId: '<1@example.org>',
  inReplyTo: '',
  references: [],
  subject: 'fire',
  from: [{ name: 'Ann', address: 'ann@example.org' }],
  replyTo: [],
  to: [],
  cc: [],
  date: '',
  text: 'hot',
  html: '',
  attachments: [],
  automatic: '',
  defects: [],
  ...parts,
})
