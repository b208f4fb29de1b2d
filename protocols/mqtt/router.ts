/** TopicRouter: routes publishes by their topic, with MQTT's own filters, whose levels may have names. */
import { z } from 'zod'
import type { Match, Matcher, RouterDefinition } from '../../src/asgi/router.ts'
import { defineRouter } from '../../src/routing/router.ts'
import type { MqttProtocol, MqttScope } from './scope.ts'

export const topicRouterDefinition = {
  name: 'TopicRouter',
  protocols: ['mqtt'],
  keys: {
    topic: {
      description:
        'an MQTT topic filter such as sensors/+/temperature or sensors/#; a level may have a name, as in sensors/+room/temperature',
      schema: z.string(),
      compile: compileFilter,
    },
  },
  address: (scope) => scope.topicRemaining ?? scope.topic,
  tokens: (address) => address.split('/'),
  consume: (scope, rest) => ({ ...scope, topicRemaining: rest }),
} satisfies RouterDefinition<MqttScope>

/** `TopicRouter([{ topic: 'sensors/+room/temperature', app }])`. */
export const TopicRouter = defineRouter<MqttProtocol, 'topic'>(topicRouterDefinition)

/** A literal level, or one of anything. */
type Level = { readonly text: string } | { readonly name: string | undefined }

function compileFilter(source: string): Matcher {
  if (source === '') throw new Error('expected a topic filter such as sensors/+room/temperature, found an empty one')
  if (/[\0\uD800-\uDFFF]/u.test(source)) throw new Error(`${JSON.stringify(source)} has a character that no topic has`)
  const all = source.split('/')
  const open = all.at(-1) === '#'
  const levels = (open ? all.slice(0, -1) : all).map((level) => compileLevel(level, source))
  const names = levels.flatMap((level) => ('name' in level && level.name !== undefined ? level.name : []))
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new Error(`the level +${twice} stands twice in ${source}`)
  return {
    text: `topic ${source}`,
    sample: levels.map((level) => ('text' in level ? level.text : (level.name ?? 'x'))).join('/') || 'x',
    tokens: levels.map((level) => ('text' in level ? level.text : null)),
    open,
    // But for topics such as $aws/x behind a leading wildcard: a rule for those has to stand first to be found so.
    total: true,
    match: (address) => matchLevels(levels, open, address),
  }
}

function compileLevel(level: string, source: string): Level {
  if (level.includes('#')) {
    // [MQTT-4.7.1-2]
    throw new Error(`the # in ${source}: expected it as the last level, alone, as in sensors/#`)
  }
  if (!level.includes('+')) return { text: level }
  const [, name] = /^\+([A-Za-z_]\w*)?$/.exec(level) ?? []
  if (level !== '+' && name === undefined) {
    // [MQTT-4.7.1-3]
    throw new Error(`the level ${JSON.stringify(level)} in ${source}: expected text, + or +name, such as +room`)
  }
  return { name }
}

function matchLevels(levels: readonly Level[], open: boolean, address: string): Match | undefined {
  // [MQTT-4.7.2-1]: a wildcard at the start stays away from $SYS and its like.
  const startsWild = levels[0] === undefined || 'name' in levels[0]
  if (startsWild && address.startsWith('$')) return undefined
  const found = address.split('/')
  // `a/#` takes `a` as well, section 4.7.1.2.
  if (open ? found.length < levels.length : found.length !== levels.length) return undefined
  const params: Record<string, string> = {}
  for (const [index, level] of levels.entries()) {
    const value = found[index] as string // the lengths were compared above
    if ('text' in level) {
      if (level.text !== value) return undefined
    } else if (level.name !== undefined) params[level.name] = value
  }
  return { params, rest: found.slice(levels.length).join('/') }
}
