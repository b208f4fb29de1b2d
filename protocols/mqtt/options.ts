/** What the operator may set below `listen.mqtt`. */
import { z } from 'zod'
import type { Refusal, SharedByProcesses, SharedSettings } from '../../src/asgi/definition.ts'
import {
  address,
  addressText,
  count,
  duration,
  flag,
  isLoopback,
  size,
  tlsFiles,
  timeout,
} from '../../src/runtime/options.ts'
import { parsePasswordHash } from './password.ts'
import { filterProblem } from './topic.ts'

const topicFilter = () =>
  z.string().superRefine((filter, context) => {
    const message = filterProblem(filter, { maxTopicLevels: 100, maxTopicLength: 65_535 })
    if (message) context.addIssue({ code: 'custom', message })
  })

const topicRules = {
  publish: z
    .array(topicFilter())
    .default(['#'])
    .meta({ description: 'Topic filters; %u is the user name, %c the client id. Default: everything but $SYS.' }),
  subscribe: z
    .array(topicFilter())
    .default(['#'])
    .meta({ description: 'Topic filters; %u is the user name, %c the client id. Default: everything but $SYS.' }),
}

const user = z.strictObject({
  name: z.string().min(1).meta({ description: 'The user name.' }),
  password: z
    .string()
    .refine((text) => parsePasswordHash(text) !== undefined, {
      error: 'expected the hash of a password, as `npx signalbox mqtt-password` prints it',
    })
    .meta({ description: 'The hash of the password, as `npx signalbox mqtt-password` prints it.' }),
  ...topicRules,
})

const users = z.array(user).superRefine((list, context) => {
  for (const [index, { name }] of list.entries()) {
    if (list.findIndex((other) => other.name === name) === index) continue
    context.addIssue({ code: 'custom', path: [index, 'name'], message: `the user ${name} stands twice` })
  }
})

export const mqttOptions = z.strictObject({
  address: address().prefault('127.0.0.1:1883').meta({ description: 'host:port to listen on.' }),
  tls: tlsFiles().optional().meta({ description: 'Certificate and key as PEM files: MQTT over TLS.' }),
  anonymous: z
    .union([flag(), z.strictObject(topicRules)], 'expected true, false, or the topic rules of anonymous clients')
    .default(false)
    .meta({ description: 'Whether clients without a user name are taken: true, false, or their topic rules.' }),
  users: users.default([]).meta({ description: 'Who may log in, and what they may publish and subscribe to.' }),
  websocketPath: z
    .string()
    .regex(/^(?:\/[\w.~-]+)+$/, 'expected a path such as /mqtt')
    .optional()
    .meta({ description: 'MQTT over WebSocket at this path of the http listener.' }),
  websocketOrigins: z
    .array(z.url({ protocol: /^https?$/, error: 'expected an origin such as https://panel.example.org' }))
    .default([])
    .meta({ description: 'Web pages of other origins that may connect over WebSocket.' }),
  persistence: z.enum(['auto', 'disk', 'memory']).default('auto').meta({
    description:
      "Where sessions and retained messages are kept. disk: in <data>/mqtt. memory: until the gateway ends. auto: in the layer's Redis, shared with every gateway there; without one, disk.",
  }),
  sessionExpiry: duration()
    .prefault('7d')
    .refine((value) => value > 0, { error: 'expected a duration of more than nothing' })
    .meta({ description: 'How long the session of a client that is away is kept, with the messages in it.' }),
  maxPacketSize: size()
    .prefault('256KiB')
    .refine((bytes) => bytes >= 128 && bytes <= 268_435_460, 'expected 128B to 256MiB')
    .meta({ description: 'The longest packet; a longer one closes the connection when its length has come.' }),
  maxTopicLevels: count(1, 100)
    .default(100)
    .meta({ description: 'Levels of a topic or topic filter; one with more closes the connection.' }),
  maxTopicLength: count(1, 65_535)
    .default(1024)
    .meta({ description: 'Bytes of a topic or topic filter; a longer one closes the connection.' }),
  maxClientIdLength: count(23, 65_535)
    .default(256)
    .meta({ description: 'Bytes of a client id; a longer one is refused with CONNACK 2.' }),
  maxClients: count(1).default(10_000).meta({ description: 'Connected clients; one more is refused with CONNACK 3.' }),
  maxSubscriptions: count(1, 65_535)
    .default(100)
    .meta({ description: 'Subscriptions of a client; one more is answered with SUBACK 0x80.' }),
  maxQueued: count(1)
    .default(1000)
    .meta({ description: 'Messages kept for a client that is away; more are dropped and counted.' }),
  maxRetained: count(1)
    .default(100_000)
    .meta({ description: 'Topics with a retained message; one more is brokered and not retained.' }),
  window: count(1, 1000).default(32).meta({
    description: 'Publishes of a client that may be with the application at a time; then its socket is paused.',
  }),
  connectTimeout: timeout()
    .prefault('10s')
    .meta({ description: 'How long a client may take to send CONNECT, and over TLS for the handshake.' }),
  handlerTimeout: timeout()
    .prefault('30s')
    .meta({ description: 'How long the application may take for one event; then the event has failed.' }),
  disconnectTimeout: timeout()
    .prefault('1s')
    .meta({ description: 'How long a DISCONNECT waits until what was published before it is handled.' }),
  drainTimeout: timeout()
    .prefault('10s')
    .meta({ description: 'How long a client may leave what it is sent unread before its connection is cut.' }),
  keepaliveLimit: duration().optional().meta({
    description: 'The longest keep alive; a longer one, or none, is refused with CONNACK 2. Default: no limit.',
  }),
})

export type MqttOptions = z.output<typeof mqttOptions>

/** What is unsafe where others than this machine reach the broker, and what its sessions cannot be kept in. */
export function refuseMqtt(options: MqttOptions, { http, redisCluster = false }: SharedSettings): readonly Refusal[] {
  return [...refuseOpen(options, http), ...(redisCluster ? refuseCluster(options) : [])]
}

function refuseOpen(options: MqttOptions, http: SharedSettings['http']): readonly Refusal[] {
  if (options.anonymous === false) return []
  const places = [options.address, ...(options.websocketPath === undefined ? [] : [http.address])]
  const open = places.find((place) => !isLoopback(place))
  if (!open) return []
  return [
    {
      path: ['anonymous'],
      message: `MQTT is to be had on ${addressText(open)}, which is not loopback, and anonymous lets anyone in: write users (see \`npx signalbox mqtt-password\`) and anonymous: false, or listen on 127.0.0.1`,
    },
  ]
}

/** Why MQTT is not shared through a Redis cluster, and what to write instead. */
export const noCluster =
  'MQTT cannot share its sessions through a Redis cluster: write persistence: disk at listen.mqtt, and each gateway keeps its own, or give the layer a Redis that is no cluster'

function refuseCluster({ persistence }: MqttOptions): readonly Refusal[] {
  return persistence === 'auto' ? [{ path: ['persistence'], message: noCluster }] : []
}

/** Why several processes cannot be one broker, and what to write instead. */
export function refuseMqttProcesses({ persistence }: MqttOptions, { redis }: SharedByProcesses): string | undefined {
  if (!redis) return 'the processes are one MQTT broker only through Redis: write layer: { redis: { url: … } }'
  if (persistence === 'auto') return undefined
  return `the processes share their MQTT sessions through the layer's Redis, found persistence: ${persistence}, expected auto`
}
