/** Every case of the benchmark runs and reports; what the figures are is for people to look at. */
import { expect, test } from '@jest/globals'
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { requires } from '../support/requirements.ts'
import { run } from '../support/child.ts'

const program = path.join(import.meta.dirname, 'run.ts')

interface Written {
  readonly cases: readonly Readonly<Record<string, unknown>>[]
}

async function bench(...given: readonly string[]) {
  const folder = await mkdtemp(path.join(tmpdir(), 'signalbox-bench-test-'))
  try {
    const json = path.join(folder, 'bench.json')
    const ended = await run(program, [...given, '--small', '--rounds', '1', '--seconds', '0.05', '--json', json])
    expect(ended).toMatchObject({ code: 0, error: '' })
    return { out: ended.out, ...(JSON.parse(await readFile(json, 'utf8')) as Written) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

const { out: list } = await run(program, ['--list'])
const names = list.trim().split('\n')
const redisNames = names.filter((name) => name.includes('redis'))

function expectAll(expected: readonly string[], { out, cases }: Awaited<ReturnType<typeof bench>>): void {
  expect(cases.map(({ name }) => name)).toEqual(expected)
  for (const one of cases) {
    expect(one).toEqual({
      name: one['name'],
      unit: expect.any(String),
      gateway: expect.any(Number),
      bare: expect.any(Number),
      ratio: expect.any(Number),
      target: expect.any(Number),
      lowerIsBetter: expect.any(Boolean),
    })
    expect(out).toMatch(new RegExp(`^${String(one['name'])} .*(?:met|missed)`, 'm'))
  }
}

test('every case of the benchmark runs and reports', async () => {
  const expected = names.filter((name) => !redisNames.includes(name))
  expect(expected.length).toBeGreaterThan(20)
  expectAll(expected, await bench(...expected))
}, 400_000)

requires('redis-server').test('the cases with Redis run and report too', async () => {
  expectAll(redisNames, await bench(...redisNames))
})

test('a profile of each side of a case is left where it is wanted', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'signalbox-profile-test-'))
  try {
    const { code, out } = await run(program, [
      'http-hello',
      '--small',
      '--rounds',
      '1',
      '--seconds',
      '0.05',
      '--profile',
      folder,
    ])
    expect({ code, last: out.trimEnd().split('\n').at(-1) }).toEqual({ code: 0, last: `profiles: ${folder}` })
    for (const side of ['gateway', 'bare']) {
      const files = await readdir(path.join(folder, 'http-hello', side))
      expect(files.filter((name) => name.endsWith('.cpuprofile')).length).toBeGreaterThan(0)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('a name that no case has is refused in words', async () => {
  const { code, error } = await run(program, ['no-such-case'])
  expect(error).toBe('there is no case no-such-case; --list names them\n')
  expect(code).toBe(64)
})
