/** What the admin listener can be asked: groups, channels, health, metrics, and to read the YAML again. */
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import { checkName } from '../layers/names.ts'
import type { Figures } from './figures.ts'
import type { Health } from './health.ts'
import { parseMessage } from './message-text.ts'

export interface Answer {
  readonly status: number
  /** A sentence or other text, or, as an object, JSON. */
  readonly text: string | object
  readonly headers?: Readonly<Record<string, string>>
}

export interface Place {
  /** Its first group, if it has one, is the name. */
  readonly path: RegExp
  /** As a person writes it, e.g. `/groups/NAME`. */
  readonly shown: string
  /** A probe may ask it without the token, and is told the status alone. */
  readonly probed?: boolean
  readonly get?: (name: string) => Promise<Answer> | Answer
  readonly post?: (name: string, body: string) => Promise<Answer> | Answer
}

export const ok = (text: object): Answer => ({ status: 200, text })

export function layerPlaces(layer: ChannelLayer): readonly Place[] {
  return [
    {
      path: /^\/groups\/([^/]+)$/,
      shown: '/groups/NAME',
      get: async (name) => {
        checkName('group', name)
        const members = await layer.groupMembers(name)
        return ok({ group: name, size: members.length, members })
      },
      post: async (name, body) => ok({ group: name, ...(await layer.groupSend(name, parseMessage(body))) }),
    },
    {
      path: /^\/channels\/([^/]+)$/,
      shown: '/channels/NAME',
      post: async (name, body) => {
        const known = await layer.send(name, parseMessage(body))
        if (known === 'closed') return { status: 404, text: `no process has channel ${name}: its consumer is gone` }
        if (known === 'unreachable')
          return { status: 503, text: `channel ${name} is of another process, and Redis is away` }
        return ok({ channel: name, [known]: true })
      },
    },
  ]
}

/** `/live`: the process answers. `/ready`: the gateway should be sent peers. */
export function healthPlaces(figures: Pick<Figures, 'readiness'>): readonly Place[] {
  return [
    { path: /^\/live$/, shown: '/live', probed: true, get: () => ok({ live: true }) },
    {
      path: /^\/ready$/,
      shown: '/ready',
      probed: true,
      get: async () => {
        const readiness = await figures.readiness()
        return { status: readiness.ready ? 200 : 503, text: readiness }
      },
    },
  ]
}

export function metricsPlace(metrics: () => Promise<{ readonly contentType: string; readonly text: string }>): Place {
  const get = async () => {
    const { contentType, text } = await metrics()
    return { status: 200, text, headers: { 'content-type': contentType } }
  }
  return { path: /^\/metrics$/, shown: '/metrics', get }
}

/** Numbers for people and their tools. */
export function statsPlace(stats: () => Promise<object>): Place {
  return { path: /^\/stats$/, shown: '/stats', get: async () => ok(await stats()) }
}

/** What became of a YAML that was read again. */
export interface Reloaded {
  /** False: the file has mistakes, and everything is as it was. */
  readonly reloaded: boolean
  /** Its mistakes and warnings. */
  readonly messages: readonly string[]
  /** Settings that differ and wait for the next start. */
  readonly later: readonly string[]
}

export function reloadPlace(reload: () => Promise<Reloaded>, health: Health): Place {
  const post = async () => {
    const { phase } = health
    if (phase !== 'serving') return { status: 503, text: `The gateway is ${phase}` }
    const result = await reload()
    return { status: result.reloaded ? 200 : 422, text: result }
  }
  return { path: /^\/reload$/, shown: '/reload', post }
}
