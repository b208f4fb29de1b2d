/** The house's drawing: which floor each folder stands on, and every rule that the source files keep, as one pure function. */
import { stripTypeScriptTypes } from 'node:module'
import path from 'node:path'

/** Longest prefix wins. A file may import what stands on a lower floor, or in its own folder. */
const floors: Readonly<Record<string, number>> = {
  'package.json': 0,
  'src/asgi/': 1,
  'src/runtime/': 2,
  'src/routing/': 3,
  'src/consumers/': 3,
  'src/layers/': 3,
  'src/middleware/': 3,
  'src/testing/': 3,
  'src/bridge/': 3,
  'src/journal/': 3,
  'src/config/': 4,
  'src/server/': 4,
  'src/cli/': 5,
  'protocols/': 6,
  'protocols/registry.ts': 7,
  'index.ts': 8,
  'testing.ts': 8,
  'main.ts': 9,
}

/** What a protocol may use of the house; the rest of `src` is the server's own. */
const openToProtocols = ['src/asgi/', 'src/runtime/', 'src/routing/', 'src/consumers/', 'src/testing/']

/** The packages that only these folders know. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  ws: ['protocols/websocket/', 'protocols/mqtt/'],
  aedes: ['protocols/mqtt/'],
  'aedes-persistence': ['protocols/mqtt/'],
  'aedes-persistence-level': ['protocols/mqtt/'],
  'classic-level': ['protocols/mqtt/'],
  'mqtt-packet': ['protocols/mqtt/'],
  'smtp-server': ['protocols/email/'],
  mailparser: ['protocols/email/'],
  libmime: ['protocols/email/'],
  nodemailer: ['protocols/email/'],
  twilio: ['protocols/sms/'],
  redis: ['src/layers/'],
  piscina: ['src/bridge/'],
  yaml: ['src/config/'],
  commander: ['src/cli/'],
}

/** The only files that may hand on what another file exports. */
const faces = ['index.ts', 'testing.ts']

interface Import {
  readonly specifier: string
  /** Loaded together with the file: neither `import type` nor `import()`. */
  readonly eager: boolean
}

export interface House {
  /** Text by path from the root, with forward slashes. */
  readonly files: ReadonlyMap<string, string>
  /** The packages that run in production. */
  readonly dependencies: readonly string[]
}

/** Every breach of a rule, as a sentence that starts with the file. */
export function breaches(house: House): readonly string[] {
  const found: string[] = []
  for (const [file, text] of house.files) {
    for (const problem of [...shape(file, text), ...connections(file, text, house)]) found.push(`${file} ${problem}`)
  }
  for (const name of eagerPackages('protocols/registry.ts', house)) {
    if (rooms[name]) found.push(`protocols/registry.ts loads ${name} before the YAML names its protocol`)
  }
  return found
}

function* shape(file: string, text: string): Generator<string> {
  if (!/^(?:#!.*\n)?\/\*\*\s[\s\S]*?\.\s*\*\//.test(text))
    yield 'does not open with a sentence in /** … */ that says what it is'
  if (/^export default\b/m.test(text)) yield 'has a default export'
  if (!faces.includes(file) && /^export (?:type )?(?:\*|\{[^}]*\}) from /m.test(text)) {
    yield `re-exports: only ${faces.join(' and ')} may`
  }
  if (/\binstanceof Error\b/.test(text))
    yield 'says `instanceof Error`, which is false across realms: use Error.isError'
  if (file !== 'main.ts' && /\bprocess\.exit\(/.test(text)) yield 'ends the process: only main.ts may'
  if (/^(?:export )?(?:const|let|if)\b(?!.*=>).*\bprocess\.env\b/m.test(text)) yield 'reads process.env at import'
  const typesOnly = file.startsWith('src/asgi/') || /^protocols\/[^/]+\/scope\.ts$/.test(file)
  if (typesOnly && hasCode(text)) yield 'holds code that runs: it may only hold types'
}

function* connections(file: string, text: string, { dependencies }: House): Generator<string> {
  for (const { specifier, eager } of importsOf(text)) {
    if (eager && /^node:https?$/.test(specifier))
      yield `imports ${specifier}: src/runtime/node-http.ts has what it needs`
    if (specifier.startsWith('node:')) continue
    if (specifier.startsWith('.')) yield* wall(file, specifier)
    else yield* packageRule(file, packageOf(specifier), dependencies)
  }
}

function* wall(file: string, specifier: string): Generator<string> {
  if (!/\.(?:ts|json)$/.test(specifier)) yield `imports ${specifier} without its extension`
  const target = path.posix.join(path.posix.dirname(file), specifier)
  const from = floorOf(file)
  const to = floorOf(target)
  if (from === undefined) yield 'stands on no floor: give its folder one in test/support/house.ts'
  else if (roomOf(target) === roomOf(file)) return
  else if (to === undefined) yield `imports ${target}, which stands on no floor`
  else if (to >= from) yield `(floor ${from}) imports ${target} (floor ${to}): imports only run down`
  else if (/^protocols\/[^/]+\//.test(file) && !openToProtocols.some((folder) => target.startsWith(folder))) {
    yield `imports ${target}: a protocol uses ${openToProtocols.join(', ')} only`
  }
}

function* packageRule(file: string, name: string, dependencies: readonly string[]): Generator<string> {
  if (name === 'signalbox') yield 'imports signalbox by its name: only handlers do'
  else if (!dependencies.includes(name)) yield `imports ${name}, which is not among the dependencies of package.json`
  const room = rooms[name]
  if (room && !room.some((folder) => file.startsWith(folder))) yield `imports ${name}: only ${room.join(' and ')} may`
}

/** Every import and re-export, with `import()` of a literal and the type `import('…')`. */
function importsOf(text: string): readonly Import[] {
  const statements = text.matchAll(/^(?:import|export)\b(\s+type\b(?!\s*,))?[^'"`;=()]*?from\s+['"]([^'"]+)['"]/gm)
  const bare = text.matchAll(/^import\s+['"]([^'"]+)['"]/gm)
  const calls = text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g)
  return [
    ...Array.from(statements, ([, type, specifier = '']) => ({ specifier, eager: type === undefined })),
    ...Array.from(bare, ([, specifier = '']) => ({ specifier, eager: true })),
    ...Array.from(calls, ([, specifier = '']) => ({ specifier, eager: false })),
  ]
}

/** The packages that are loaded as soon as `start` is. */
function eagerPackages(start: string, { files }: House): ReadonlySet<string> {
  const packages = new Set<string>()
  const seen = new Set<string>([start])
  for (const file of seen) {
    for (const { specifier, eager } of importsOf(files.get(file) ?? '')) {
      if (!eager || specifier.startsWith('node:')) continue
      if (specifier.startsWith('.')) seen.add(path.posix.join(path.posix.dirname(file), specifier))
      else packages.add(packageOf(specifier))
    }
  }
  return packages
}

function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
}

function placeOf(file: string): string | undefined {
  return Object.keys(floors)
    .filter((prefix) => file.startsWith(prefix))
    .toSorted((a, b) => b.length - a.length)[0]
}

function floorOf(file: string): number | undefined {
  const place = placeOf(file)
  return place === undefined ? undefined : floors[place]
}

/** Two protocols are two rooms, though they share a floor. */
function roomOf(file: string): string | undefined {
  return file.match(/^protocols\/[^/]+\//)?.[0] ?? placeOf(file)
}

/** Whether anything is left when the types and the comments are gone. */
function hasCode(text: string): boolean {
  const code = stripTypeScriptTypes(text)
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/\/\/.*/g, '')
  return /[^\s;]/.test(code)
}
