/** `workers`: which named channels this process serves: those that the YAML lists, or else all that its routers name. */
import { z } from 'zod'
import type { ChannelScope } from '../asgi/channel.ts'
import type { Application } from '../asgi/protocol.ts'
import { count } from '../runtime/options.ts'
import type { Report } from './diagnostics.ts'
import { locate, type ConfigNode } from './nodes.ts'
import { inside, protocolTypes, type Plan } from './plan.ts'
import { didYouMean } from './suggest.ts'
import { oneOf } from './zod-issues.ts'

export interface WorkerSettings {
  readonly channel: string
  /** How many of its messages are handled at once. */
  readonly concurrency: number
}

const channelType = 'channel'
const channelName = () =>
  z.string().regex(/^[\w.-]{1,100}$/, 'expected the name of a channel: 1 to 100 characters of A-Z a-z 0-9 - _ .')

/** How many messages of a channel may be handled at once. */
export const concurrency = () => count(1, 1000)

export const workersSchema = z.array(
  z
    .union(
      [
        channelName(),
        z.strictObject({
          channel: channelName().meta({ description: 'Its name.' }),
          concurrency: concurrency()
            .default(1)
            .meta({ description: 'Messages that are handled at once; 1 keeps their order.' }),
        }),
      ],
      'expected the name of a channel, or { channel, concurrency }',
    )
    .transform((given): WorkerSettings => (typeof given === 'string' ? { channel: given, concurrency: 1 } : given)),
)

/** Whether a rule takes the messages of this channel. */
export function isServed(application: Application, channel: string): boolean {
  const scope: ChannelScope = {
    type: channelType,
    channel,
    id: '',
    client: null,
    server: null,
    params: {},
    route: '',
    state: {},
  }
  return application.resolve?.(scope) !== undefined
}

/** The channels that the rules below `channel` name, in their order. */
export function channelsNamed(plan: Plan): readonly string[] {
  const branches = protocolTypes(plan)?.branches.filter(({ protocol }) => protocol === channelType) ?? []
  return [...new Set(branches.flatMap(({ app }) => namedIn(app)))]
}

function namedIn(plan: Plan): readonly string[] {
  const own =
    plan.kind === 'router' && plan.definition.protocols.includes(channelType)
      ? plan.rules.flatMap(({ matcher: { tokens, open } }) => (open || tokens.length !== 1 ? [] : (tokens[0] ?? [])))
      : []
  return [...own, ...inside(plan).flatMap(namedIn)]
}

interface Routing {
  readonly plan: Plan
  readonly application: Application
}

/** What is to be served; a channel that the YAML lists and no rule takes is reported. `node` is the list. */
export function readWorkers(
  report: Report,
  given: readonly WorkerSettings[] | undefined,
  node: ConfigNode | undefined,
  { plan, application }: Routing,
): readonly WorkerSettings[] {
  const named = channelsNamed(plan).filter((channel) => isServed(application, channel))
  if (!given || !node) return named.map((channel) => ({ channel, concurrency: 1 }))
  for (const [index, { channel }] of given.entries()) {
    const { offset } = locate(node, [index])
    const path = ['workers', index]
    if (given.findIndex((other) => other.channel === channel) < index) {
      report.error(offset, path, `found ${channel} a second time, expected it once`)
    } else if (!isServed(application, channel)) {
      report.error(offset, path, `found ${channel}, ${unserved(channel, named)}`)
    }
  }
  return given
}

/** Why nobody could work on a channel, and what could be meant. */
export function unserved(channel: string, named: readonly string[]): string {
  const expected = named.length > 0 ? oneOf(named) : 'a rule of ChannelNameRouter below channel'
  return `which no rule takes, expected ${expected}${didYouMean(channel, named)}`
}
