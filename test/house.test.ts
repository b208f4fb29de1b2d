/** Keeps the house as it is drawn in test/support/house.ts, and shows that each rule can be broken. */
import { describe, expect, test } from '@jest/globals'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { breaches } from './support/house.ts'

const root = path.join(import.meta.dirname, '..')
const read = (file: string) => readFileSync(path.join(root, file), 'utf8')

test('every source file keeps the house rules', () => {
  const names = globSync(['*.ts', 'src/**/*.ts', 'protocols/**/*.ts'], { cwd: root })
  expect(names.length).toBeGreaterThan(10)
  const files = new Map(names.map((file) => [file.replaceAll('\\', '/'), read(file)]))
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Readonly<Record<string, string>> }
  expect(breaches({ files, dependencies: Object.keys(dependencies) })).toEqual([])
})

describe('a rule that is broken is named', () => {
  const dependencies = ['ws', 'zod', 'twilio', 'pino']
  const opening = '/** A file. */\n'
  const of = (files: Readonly<Record<string, string>>) =>
    breaches({ files: new Map(Object.entries(files).map(([file, text]) => [file, opening + text])), dependencies })

  test.each([
    ['src/runtime/a.ts', "import { b } from '../routing/b.ts'", 'imports only run down'],
    ['src/runtime/a.ts', "import type { B } from '../routing/b.ts'", 'imports only run down'],
    ['src/runtime/a.ts', "import {\n  b,\n  type C,\n} from '../routing/b.ts'", 'imports only run down'],
    ['src/runtime/a.ts', "import '../routing/b.ts'", 'imports only run down'],
    ['src/runtime/a.ts', "const load = () => import('../routing/b.ts')", 'imports only run down'],
    ['src/runtime/a.ts', "export type B = import('../routing/b.ts').B", 'imports only run down'],
    ['src/routing/a.ts', "import { b } from '../layers/b.ts'", 'imports only run down'],
    ['src/server/a.ts', "import { b } from '../config/b.ts'", 'imports only run down'],
    ['src/cli/a.ts', "import { mqtt } from '../../protocols/mqtt/protocol.ts'", 'imports only run down'],
    ['protocols/sms/a.ts', "import type { HttpScope } from '../http/scope.ts'", 'imports only run down'],
    ['protocols/sms/a.ts', "import { b } from '../../src/server/b.ts'", 'a protocol uses'],
    ['src/elsewhere/a.ts', "import { b } from '../asgi/b.ts'", 'stands on no floor'],
    ['src/runtime/a.ts', "import { b } from '../asgi/b'", 'without its extension'],
    ['src/runtime/a.ts', "import { b } from 'left-pad'", 'not among the dependencies'],
    ['src/runtime/a.ts', "import { WebSocket } from 'ws'", 'only protocols/websocket/'],
    ['protocols/http/a.ts', "import twilio from 'twilio/lib/x.js'", 'only protocols/sms/'],
    ['src/runtime/a.ts', "import { Consumer } from 'signalbox'", 'only handlers do'],
    ['src/runtime/a.ts', "import { createServer, type Server } from 'node:http'", 'src/runtime/node-http.ts has'],
    ['src/runtime/a.ts', "export * from './b.ts'", 're-exports'],
    ['src/runtime/a.ts', "export type { B } from './b.ts'", 're-exports'],
    ['src/runtime/a.ts', "export {\n  b,\n} from './b.ts'", 're-exports'],
    ['src/runtime/a.ts', 'export default 1', 'has a default export'],
    ['src/runtime/a.ts', 'if (error instanceof Error) throw error', 'across realms'],
    ['src/cli/a.ts', 'process.exit(1)', 'only main.ts may'],
    ['src/runtime/a.ts', "const level = process.env['LEVEL']", 'at import'],
    ['src/asgi/a.ts', 'export const a = 1', 'only hold types'],
    ['protocols/sms/scope.ts', 'export const a = 1', 'only hold types'],
  ])('%s: %s', (file, text, expected) => {
    expect(
      of({ [file]: text }).filter((problem) => problem.startsWith(`${file} `) && problem.includes(expected)),
    ).toHaveLength(1)
  })

  test('a file without an opening sentence', () => {
    const without = breaches({ files: new Map([['src/runtime/a.ts', "import { b } from './b.ts'\n"]]), dependencies })
    expect(without).toEqual(['src/runtime/a.ts does not open with a sentence in /** … */ that says what it is'])
  })

  test('a package of an adapter that the registry loads eagerly, through any number of files', () => {
    const files = {
      'protocols/registry.ts': "import { sms } from './sms/protocol.ts'",
      'protocols/sms/protocol.ts': "import { options } from './options.ts'",
      'protocols/sms/options.ts': "import { validate } from 'twilio'",
    }
    expect(of(files)).toEqual(['protocols/registry.ts loads twilio before the YAML names its protocol'])
    expect(of({ ...files, 'protocols/sms/options.ts': "import type { Twilio } from 'twilio'" })).toEqual([])
    expect(of({ ...files, 'protocols/sms/protocol.ts': "const load = () => import('./options.ts')" })).toEqual([])
  })

  test('nothing else is: what the rules allow', () => {
    const allowed = {
      'src/asgi/a.ts': "import type { ZodType } from 'zod'\nexport interface A {\n  readonly a: ZodType // a\n}",
      'src/runtime/a.ts':
        "import { b } from './b.ts'\nimport type { A } from '../asgi/a.ts'\nimport { join } from 'node:path'\nimport type { Server } from 'node:http'",
      'src/config/a.ts': 'export const read = (env = process.env) => env\nexport function b(env = process.env) {}',
      'protocols/websocket/adapter.ts':
        "import { WebSocketServer } from 'ws'\nimport { a } from '../../src/runtime/a.ts'",
      'protocols/registry.ts': "import { websocket } from './websocket/protocol.ts'",
      'index.ts': "export { a } from './src/runtime/a.ts'\nexport type * from './src/asgi/a.ts'",
      'main.ts': "import { protocols } from './protocols/registry.ts'\nprocess.exit(0)",
    }
    expect(of(allowed)).toEqual([])
  })
})
