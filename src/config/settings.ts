/** Everything in the YAML but `listen` and `application`: the schema, and what it makes of the document. */
import { z } from 'zod'
import { bridgeOptions } from '../bridge/options.ts'
import { journalOptions } from '../journal/options.ts'
import { once, timeout } from '../runtime/options.ts'
import { adminSchema } from './admin.ts'
import { logLevels } from './config.ts'
import type { Path, Report } from './diagnostics.ts'
import { layerSchema } from './layer.ts'
import { plain, type ConfigNode, type Entry, type MapNode } from './nodes.ts'
import { workersSchema } from './workers.ts'
import { reportIssues } from './zod-issues.ts'

/** `listen` and `application` are checked by their own files: here they are only known. */
export const settingsSchema = z.strictObject({
  listen: z.unknown().optional().meta({ description: 'What to listen on, by protocol.' }),
  layer: layerSchema.meta({
    description: 'The channel layer: memory, for one process, or redis, for any number; alone, or with its options.',
  }),
  workers: workersSchema.optional().meta({
    description: 'The named channels that are served in this process. Default: all that ChannelNameRouter names.',
  }),
  journal: journalOptions.prefault({}).meta({
    description: 'What is on disk before its sender has its answer, until it is handled or dead.',
  }),
  sync: bridgeOptions.prefault({}).meta({
    description: 'The worker threads that run what blocks: SyncConsumers, sync handlers, and what syncToAsync calls.',
  }),
  admin: adminSchema.optional().meta({
    description:
      'A listener for health, metrics, and other programs that send to groups and channels. Off unless it is here.',
  }),
  data: z
    .string()
    .min(1)
    .default('./data')
    .meta({ description: "The folder for everything that is kept, relative to this file's own folder." }),
  log: z
    .strictObject({
      level: z
        .enum(logLevels)
        .default('info')
        .meta({ description: 'The least important lines that are still written.' }),
    })
    .prefault({})
    .meta({ description: 'The log, on standard error.' }),
  closeTimeout: timeout()
    .prefault('5s')
    .meta({ description: 'How long an application may go on after its scope ended, such as 5s.' }),
  drainTimeout: timeout().prefault('10s').meta({
    description:
      'How long open scopes may take when the gateway closes, such as 10s; then they are told to end, within closeTimeout.',
  }),
  application: z.unknown().optional().meta({ description: 'What gets the events.' }),
})

export type Settings = z.output<typeof settingsSchema>

/** Reports every mistake at the top of the document; undefined when there is one. */
export function readSettings(report: Report, root: MapNode): Settings | undefined {
  const known = new Map([...root.entries].filter(([key]) => key !== 'listen' && key !== 'application'))
  const node = withoutNothing(report, { ...root, entries: known })
  for (const key of ['listen', 'application']) {
    if (!root.entries.has(key)) report.error(root.offset, [key], `found no ${key}, expected it at the top of the file`)
  }
  const parsed = settingsSchema.safeParse(plain(node), once)
  if (parsed.success) return parsed.data
  reportIssues(report, parsed.error.issues, { node, path: [], schema: settingsSchema })
  return undefined
}

/** A key without a value is a mistake: it would mean something else than leaving the key out. The rest is as it was. */
export function withoutNothing(report: Report, node: ConfigNode, path: Path = []): ConfigNode {
  switch (node.kind) {
    case 'scalar':
      if (node.value !== null) return node
      report.error(node.offset, path, 'found nothing, expected a value; leave the key out for its default')
      return { kind: 'broken', offset: node.offset }
    case 'list':
      return { ...node, items: node.items.map((item, index) => withoutNothing(report, item, [...path, index])) }
    case 'map': {
      const entries = [...node.entries].map(([key, entry]): [string, Entry] => [
        key,
        { ...entry, value: withoutNothing(report, entry.value, [...path, key]) },
      ])
      return { ...node, entries: new Map(entries) }
    }
    case 'broken':
      return node
    default:
      return node satisfies never
  }
}
