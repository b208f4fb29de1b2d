/** A router's process: asks it for the last two of so many literal rules in turn, and prints the nanoseconds of one answer. */
import { ChannelNameRouter, EmailToRouter, SMSFromRouter, TopicRouter, URLRouter } from 'signalbox'
import type { Application, BaseScope } from 'signalbox'

interface Router {
  readonly make: (addresses: readonly string[]) => Application
  readonly address: (number: number) => string
  readonly scope: (address: string) => object
}

const app = async () => undefined
/** The cast: each router is asked for scopes of its own protocol. */
const router =
  <Key extends string>(
    build: (rules: readonly ({ readonly [_ in Key]: string } & { app: typeof app })[]) => unknown,
    key: Key,
  ) =>
  (addresses: readonly string[]) =>
    build(addresses.map((address) => ({ [key]: address, app }) as never)) as Application

const routers: Readonly<Record<string, Router>> = {
  url: {
    make: (addresses) => router(URLRouter as never, 'path')(addresses.map((address) => `/${address}`)),
    address: (number) => `shops/${number}/orders`,
    scope: (address) => ({ type: 'http', path: `/${address}`, rootPath: '' }),
  },
  topic: {
    make: router(TopicRouter as never, 'topic'),
    address: (number) => `sensors/${number}/temperature`,
    scope: (topic) => ({ type: 'mqtt', topic }),
  },
  email: {
    make: router(EmailToRouter as never, 'address'),
    address: (number) => `desk-${number}@support.org`,
    scope: (recipient) => ({ type: 'email', recipient }),
  },
  sms: {
    make: router(SMSFromRouter as never, 'phone'),
    address: (number) => `+1415${String(number).padStart(7, '0')}`,
    scope: (from) => ({ type: 'sms', from }),
  },
  channel: {
    make: router(ChannelNameRouter as never, 'channel'),
    address: (number) => `work-${number}`,
    scope: (channel) => ({ type: 'channel', channel }),
  },
}

const [name = '', rules = '10', seconds = '1'] = process.argv.slice(2)
const chosen = routers[name]
if (!chosen) throw new Error(`there is no router ${name}`)
process.stdout.write(`${measure(chosen, Number(rules), Number(seconds)).toFixed(1)}\n`)

function measure({ make, address, scope }: Router, count: number, time: number): number {
  const application = make(Array.from({ length: count }, (_, number) => address(number)))
  // In turn: a router remembers its last answer.
  const asked = [count - 1, count - 2].map((number) => {
    return { id: '', params: {}, route: '', state: {}, client: null, server: null, ...scope(address(number)) }
  }) as unknown as readonly [BaseScope, BaseScope]
  const run = (times: number): number => {
    const begun = performance.now()
    for (let index = 0; index < times; index++) {
      if (!application.resolve?.(asked[index % 2 === 0 ? 0 : 1]))
        throw new Error('the router does not find its last rule')
    }
    return performance.now() - begun
  }
  run(1000)
  let times = 1000
  let elapsed = run(times)
  while (elapsed < time * 500) {
    times *= 2
    elapsed = run(times)
  }
  return (elapsed * 1e6) / times
}
