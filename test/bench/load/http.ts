/** Load over HTTP: hello on connections that stay, and Twilio's signed webhook. */
import { createHmac } from 'node:crypto'
import { alike, closedLoop, repeated, type Requests } from './closed-loop.ts'
import { each, urlOf, type Load, type LoadConfig, type Tally } from './load.ts'
import { Peer } from './peer.ts'

export const helloRequest = get('/hello')
const eventsRequest = get('/events')
const responseRequest = get('/response')
const succeeds = Buffer.from('HTTP/1.1 200 ')

function get(path: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: bench.example.org\r\n\r\n`)
}

const asking =
  (request: Buffer): Load =>
  async (config, tally) => {
    await keepAlive(config, tally, () => repeated(request, config.inFlight))
  }

export const hello = asking(helloRequest)
export const events = asking(eventsRequest)
export const response = asking(responseRequest)

export const webhook: Load = async (config, tally) => {
  const all = texts(config.seconds)
  await keepAlive(config, tally, () => all)
}

/** Every answer is as long as the first one of its connection. */
async function keepAlive(config: LoadConfig, tally: Tally, requestsOf: () => Requests): Promise<void> {
  await each(config.connections, async () => {
    const peer = await Peer.open(urlOf(config, 'http'))
    const requests = requestsOf()
    peer.write(requests(1))
    const { length } = await peer.until(isComplete)
    closedLoop(peer, config, tally, { requests, answers: alike(length, succeeds) })
  })
}

export function isComplete(response: string): boolean {
  const head = response.indexOf('\r\n\r\n')
  if (head < 0) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(response.slice(0, head))?.[1]
  if (!response.startsWith('HTTP/1.1 200 ') || length === undefined) throw new Error(`the server answers ${response}`)
  return response.length >= head + 4 + Number(length)
}

/** Made before the start for about as many as a fast server takes, and then one by one. */
function texts(seconds: number): Requests {
  const made = Array.from({ length: Math.ceil(20_000 * seconds) }, (_, index) => text(index))
  let next = 0
  return (count) => {
    const chosen: Buffer[] = []
    for (let index = 0; index < count; index++, next++) chosen.push(made[next] ?? text(next))
    return chosen.length === 1 ? (chosen[0] as Buffer) : Buffer.concat(chosen) // there is one
  }
}

function text(index: number): Buffer {
  const id = `SM${index.toString(16).padStart(32, '0')}`
  const parameters: Readonly<Record<string, string>> = {
    ToCountry: 'US',
    SmsMessageSid: id,
    NumMedia: '0',
    SmsSid: id,
    SmsStatus: 'received',
    Body: 'What is the temperature in the kitchen?',
    To: '+15005550006',
    NumSegments: '1',
    MessageSid: id,
    AccountSid: `AC${'0'.repeat(32)}`,
    From: '+14155550100',
    ApiVersion: '2010-04-01',
  }
  // What Twilio signs: the URL, and every name and value in the order of the names.
  const signed = Object.keys(parameters)
    .toSorted()
    .map((name) => name + parameters[name])
  const signature = createHmac('sha1', 'benchmark')
    .update(`http://bench.example.org/sms${signed.join('')}`)
    .digest('base64')
  const body = new URLSearchParams(parameters).toString()
  const head = [
    'POST /sms HTTP/1.1',
    'Host: bench.example.org',
    'Content-Type: application/x-www-form-urlencoded',
    `Content-Length: ${body.length}`,
    `X-Twilio-Signature: ${signature}`,
    '\r\n',
  ]
  return Buffer.from(head.join('\r\n') + body)
}
