/** `node test/bench/top.ts FILE…`: what functions cost in CPU profiles of a server, alone and with all that they call. */
import { readFile } from 'node:fs/promises'
import path from 'node:path'

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  readonly children?: readonly number[]
}
interface Profile {
  readonly nodes: readonly ProfileNode[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

const root = path.join(import.meta.dirname, '..', '..')
/** Lines that are printed. */
const longest = 120
/** What is no work of a server: waiting. */
const outside = new Set(['(idle)', '(program)'])
/** Loading, which is over before it serves. */
const isLoading = ({ callFrame: { functionName, url } }: ProfileNode): boolean =>
  /^(?:node:internal\/(?:modules|bootstrap|deps)|wasm:)/.test(url) || functionName === 'compileForInternalLoader'

for (const file of process.argv.slice(2)) {
  const profile = JSON.parse(await readFile(file, 'utf8')) as Profile // as V8 writes it
  process.stdout.write(`${path.basename(file)}\n${table(profile)}\n`)
}

function table({ nodes, samples, timeDeltas }: Profile): string {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const spent = new Map<number, number>()
  for (const [index, id] of samples.entries()) spent.set(id, (spent.get(id) ?? 0) + (timeDeltas[index] ?? 0))
  const alone = new Map<string, number>()
  const whole = new Map<string, number>()
  let busy = 0
  /** A function that calls itself counts once. */
  const walk = (id: number, above: ReadonlySet<string>): number => {
    const node = byId.get(id)
    if (!node || isLoading(node)) return 0
    const name = nameOf(node)
    const self = outside.has(node.callFrame.functionName) ? 0 : (spent.get(id) ?? 0)
    busy += self
    alone.set(name, (alone.get(name) ?? 0) + self)
    const within = new Set(above).add(name)
    const all = (node.children ?? []).reduce((sum, child) => sum + walk(child, within), self)
    if (!above.has(name)) whole.set(name, (whole.get(name) ?? 0) + all)
    return all
  }
  const [first] = nodes
  if (first) walk(first.id, new Set())
  const percent = (time = 0) => `${((time / busy) * 100).toFixed(1).padStart(6)} %`
  return [...whole]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, longest)
    .map(([name, all]) => `${percent(all)} with what it calls ${percent(alone.get(name))} alone  ${name}`)
    .join('\n')
}

function nameOf({ callFrame: { functionName, url, lineNumber } }: ProfileNode): string {
  const place = url.replace(/^file:\/\//, '').replace(`${root}/`, '')
  return `${functionName || '(anonymous)'}${place === '' ? '' : ` ${place}:${lineNumber + 1}`}`
}
