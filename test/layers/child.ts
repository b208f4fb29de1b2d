/** A second process with a Redis layer, for tests: does what its parent says. */
import type { Event } from '../../src/asgi/protocol.ts'
import { RedisLayer } from '../../src/layers/redis.ts'

const [url = '', prefix = '', process_ = ''] = process.argv.slice(2)
const layer = await RedisLayer.open({ url, prefix, process: process_, presenceTimeout: 1500, claimAfter: 300 })

type Order = readonly [what: string, name: string, count: number]

/** `join GROUP COUNT`: that many members, which count what they get. */
async function join(group: string, count: number): Promise<void> {
  let got = 0
  const member = {
    deliverMessage(message: Event) {
      if (++got % count === 0) process.send?.({ got, last: message })
      return true
    },
  }
  for (let number = 0; number < count; number++) await layer.groupAdd(group, layer.newChannel(member))
  process.send?.('joined')
}

/** `work CHANNEL`: takes one message and never ends. */
async function work(channel: string): Promise<void> {
  const never = new Promise<void>(() => {})
  const handler = (message: Event) => {
    process.send?.({ took: message })
    return never
  }
  await layer.consume(channel, handler, { signal: new AbortController().signal })
}

/** `send GROUP COUNT`: that many messages, without waiting for one of them. */
async function send(group: string, count: number): Promise<void> {
  const sent = Array.from({ length: count }, (_, number) =>
    layer.groupSend(group, { type: 'chat.message', text: String(number) } as Event),
  )
  await Promise.all(sent)
}

process.on('message', ([what, name, count]: Order) => {
  if (what === 'join') void join(name, count)
  else if (what === 'work') void work(name)
  else void send(name, count)
})
process.send?.('ready')
