/** A handler that can do nothing with the scopes of its rule is refused before the first of them comes. */
import { describe, expect, test } from '@jest/globals'
import path from 'node:path'
import { mistakes, withApplication } from '../support/config-text.ts'

const file = path.join(import.meta.dirname, 'fixtures', 'consumers.ts')

/** What is said of each of these rules, without its place below ProtocolTypeRouter; the first one stands in line 9. */
async function said(...rules: readonly (readonly [protocol: string, name: string])[]): Promise<readonly string[]> {
  const found = await mistakes(withApplication(...rules.map(([protocol, name]) => `${protocol}: ${file}#${name}`)))
  return found.map((line) => line.replaceAll(file, 'x.ts').replace('application.ProtocolTypeRouter.', ''))
}

describe('a class without the method that its events need is refused with the line of its rule', () => {
  const lost = ': nothing would handle its events'
  test.each([
    ['email', 'MailTypo', `mesage, expected message${lost}`],
    ['email', 'SyncMailTypo', `mesage, expected message${lost}`],
    ['email', 'Empty', `none, expected message${lost}`],
    ['email', 'StillEmpty', `meassage, mesage, expected message${lost}`],
    ['sms', 'SmsTypo', `mesage, expected one of message, status${lost}`],
    ['sms', 'SyncSmsTypo', `mesage, expected one of message, status${lost}`],
    ['mqtt', 'MqttTypo', `mesage, expected one of connect, message, subscribed, unsubscribed, disconnect${lost}`],
    ['mqtt', 'SyncMqttTypo', `mesage, expected one of connect, message, subscribed, unsubscribed, disconnect${lost}`],
    ['http', 'PageTypo', `handel, expected handle${lost}`],
    ['http', 'SyncPageTypo', `handel, expected handle${lost}`],
  ])('%s: %s', async (protocol, name, words) => {
    expect(await said([protocol, name])).toEqual([
      `9:${protocol.length + 7} ${protocol} found x.ts#${name}, whose methods are ${words}`,
    ])
  })
})

describe('a method that no event calls is warned of, when one that they call is written much like it', () => {
  test.each([
    ['websocket', 'SocketTypo', [['receiveTxt', 'receiveText']]],
    ['websocket', 'SyncEventTypo', [['websocket.recieve', 'websocket.receive']]],
    [
      'mqtt',
      'MqttHalfTypo',
      [
        ['mesage', 'message'],
        ['subscibed', 'subscribed'],
      ],
    ],
    ['sms', 'StatusTypo', [['staus', 'status']]],
  ])('%s: %s', async (protocol, name, typos) => {
    expect(await said([protocol, name])).toEqual(
      typos.map(
        ([wrote, meant]) =>
          `9:${protocol.length + 7} ${protocol} found x.ts#${name}, whose method ${wrote} no event calls; did you mean "${meant}"?`,
      ),
    )
  })
})

test.each([
  ['websocket', 'SocketHelpers'],
  ['email', 'Mail'],
  ['email', 'Inherited'],
  ['email', 'Field'],
  ['email', 'ByEvent'],
  ['email', 'ByDispatch'],
  ['sms', 'Statuses'],
  ['mqtt', 'OnlyConnects'],
  ['mqtt', 'OnlyGroups'],
  ['websocket', 'OnlySends'],
  ['channel', 'Work'],
  ['http', 'page'],
  ['http', 'wrapped'],
  ['http', 'blockingPage'],
  ['websocket', 'routes'],
])('one that has what it needs is taken: %s: %s', async (protocol, name) => {
  expect(await said([protocol, name])).toEqual([])
})

test('a handler below another protocol is refused with the line of its rule', async () => {
  const takes = (name: string, taken: string, expected: string) =>
    `${expected} found x.ts#${name}, which takes ${taken}, expected what takes ${expected}`
  expect(
    await said(
      ['email', 'OnlySends'],
      ['sms', 'Mail'],
      ['mqtt', 'page'],
      ['http', 'Work'],
      ['websocket', 'blockingPage'],
      ['channel', 'wrapped'],
      ['lifespan', 'routes'],
    ),
  ).toEqual([
    `9:12 ${takes('OnlySends', 'websocket', 'email')}`,
    `10:10 ${takes('Mail', 'email', 'sms')}`,
    `11:11 ${takes('page', 'http', 'mqtt')}`,
    `12:11 ${takes('Work', 'channel', 'http')}`,
    `13:16 ${takes('blockingPage', 'http', 'websocket')}`,
    `14:14 ${takes('wrapped', 'http', 'channel')}`,
    `15:15 ${takes('routes', 'http and websocket', 'lifespan')}`,
  ])
})

test('also below routers and middleware, and where no ProtocolTypeRouter tells the protocols apart', async () => {
  const nested = `{ URLRouter: [{ path: /*, app: { accessLog: { app: ${file}#Mail } } }] }`
  expect(await mistakes(withApplication(`http: ${nested}`))).toEqual([
    expect.stringMatching(/^9:.*\.app found .*#Mail, which takes email, expected what takes http$/),
  ])
  const text = `listen: { http: , websocket: }\napplication: ${file}#page\n`
  expect(await mistakes(text)).toEqual([
    expect.stringMatching(
      /^2:14 .*, which takes http, expected what takes http, websocket; put it below ProtocolTypeRouter$/,
    ),
  ])
})
