/** `worker` as a process: what it takes from the YAML, how it works and how it ends. */
import { describe, expect, test } from '@jest/globals'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { RedisServer } from '../layers/redis-server.ts'
import { Running, run, toyMain } from '../support/child.ts'
import { temporaryFolder } from '../support/config-text.ts'
import { requires } from '../support/requirements.ts'

const handlers = `
/** Works on what it is told, for as long as it is told. */
export async function work(scope, receive, send, { log, layer, signal }) {
  const { what } = await receive()
  log.info({ what, lifespan: scope.state.lifespan }, 'begun')
  if (what === 'long') {
    await new Promise((resolve) => process.once('SIGTERM', resolve))
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  if (what === 'endless') await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  log.info({ what }, 'done')
}
export async function lifespan(scope, receive, send) {
  await receive()
  await send({ type: 'lifespan.startup.complete', state: { lifespan: 'started' } })
  await receive()
  process.stderr.write('lifespan is over')
  await send({ type: 'lifespan.shutdown.complete' })
}
`

async function folderWith(...lines: readonly string[]) {
  const place = await temporaryFolder()
  const text = [
    ...lines,
    'listen: { http: { address: 127.0.0.1:1 } }', // where nobody but root may listen
    'application:',
    '  ProtocolTypeRouter:',
    '    http: ./handlers.ts#site',
    '    lifespan: ./work.ts#lifespan',
    '    channel:',
    '      ChannelNameRouter:',
    '        - { channel: work, app: ./work.ts#work }',
    '        - { channel: play, app: ./work.ts#work }',
    '',
  ]
  await writeFile(path.join(place.folder, 'gateway.yaml'), text.join('\n'))
  await writeFile(path.join(place.folder, 'work.ts'), handlers)
  return place
}

describe('what keeps it from starting', () => {
  test('a layer that no other process reaches', async () => {
    await using place = await folderWith()
    expect(await run(toyMain, ['worker', 'work'], place)).toEqual({
      code: 78,
      out: '',
      error:
        'gateway.yaml: found the memory layer, which no other process reaches, expected layer: { redis: { url: … } }\n',
    })
  })

  test('a channel that no rule takes', async () => {
    await using place = await folderWith('layer: redis')
    expect(await run(toyMain, ['worker', 'wrok', 'play', 'a!b'], place)).toEqual({
      code: 78,
      out: '',
      error: [
        'gateway.yaml: found wrok, which no rule takes, expected one of work, play; did you mean "work"?',
        'gateway.yaml: found a!b, which no rule takes, expected one of work, play',
        '',
      ].join('\n'),
    })
  })

  test('mistakes in the file, wherever it is named', async () => {
    await using place = await folderWith('layr: redis')
    for (const given of [['work'], ['work', 'gateway.yaml'], ['work', '--config', 'gateway.yaml']]) {
      const { code, error } = await run(toyMain, ['worker', ...given], place)
      expect({ code, error }).toEqual({ code: 78, error: expect.stringMatching(/did you mean "layer"/) })
    }
  })
})

requires('redis-server', 'redis-cli').describe('with Redis', () => {
  async function working(lines: readonly string[], ...given: readonly string[]) {
    const server = await RedisServer.start()
    const place = await folderWith(`layer: { redis: { url: "${server.url}" } }`, ...lines)
    const worker = new Running(toyMain, ['worker', ...given], place)
    return {
      worker,
      order: (channel: string, what: string) =>
        server.cli('XADD', `signalbox:channel:${channel}`, '*', 'message', JSON.stringify({ type: 'work.do', what })),
      left: (channel: string) => server.cli('XLEN', `signalbox:channel:${channel}`),
      [Symbol.asyncDispose]: async () => {
        await worker[Symbol.asyncDispose]()
        await place[Symbol.asyncDispose]()
        await server.stop()
      },
    }
  }

  test('it serves the channels that it is told, opens no listener, and runs the lifespan application', async () => {
    await using place = await working(['workers: []'], 'work')
    await place.worker.sees('out', /\n/)
    expect(place.worker.out).toBe('signalbox 1.2.3 works on work\n')
    await place.worker.sees('error', /"listening":\[\],"channels":\["work"\]/)
    await place.order('play', 'nothing of this')
    await place.order('work', 'this')
    await place.worker.sees('error', /"what":"this","lifespan":"started","msg":"begun"/)
    await place.worker.sees('error', /"what":"this","msg":"done"/)
    place.worker.kill('SIGTERM')
    const { code, error } = await place.worker.ended()
    expect(code).toBe(0)
    expect(error).toMatch(/lifespan is over/)
    expect([await place.left('work'), await place.left('play')]).toEqual(['0', '1'])
  })

  test.each([
    ['of the YAML', ['workers: [{ channel: work, concurrency: 2 }]'], ['work'], 2],
    ['of the command line', ['workers: [{ channel: work, concurrency: 2 }]'], ['work', '--concurrency', '3'], 3],
  ] as const)('it handles so many messages at once: the concurrency %s', async (_, lines, given, concurrency) => {
    await using place = await working(lines, ...given)
    await place.worker.sees('out', new RegExp(`works on work \\(${concurrency} at once\\)`))
    for (let number = 0; number <= concurrency; number++) await place.order('work', 'endless')
    await place.worker.sees('error', new RegExp(`("what":"endless"[^]*){${concurrency}}`))
    place.worker.kill('SIGTERM')
    place.worker.kill('SIGINT')
    await place.worker.ended()
    expect(place.worker.error.match(/"msg":"begun"/g)).toHaveLength(concurrency)
  })

  test('SIGTERM lets what is in hand finish, and takes nothing more', async () => {
    await using place = await working([], 'work')
    await place.worker.sees('out', /works on/)
    await place.order('work', 'long')
    await place.order('work', 'later')
    await place.worker.sees('error', /"what":"long".*"msg":"begun"/)
    place.worker.kill('SIGTERM')
    const { code, error } = await place.worker.ended()
    expect(code).toBe(0)
    expect(error).toMatch(/"what":"long".*"msg":"done"/)
    expect(error).not.toMatch(/"what":"later"/)
    expect(await place.left('work')).toBe('1')
  })

  test('what does not finish in time is interrupted, and left to be done again', async () => {
    await using place = await working(['drainTimeout: 100ms'], 'work')
    await place.worker.sees('out', /works on/)
    await place.order('work', 'endless')
    await place.worker.sees('error', /"msg":"begun"/)
    place.worker.kill('SIGTERM')
    expect(await place.worker.ended()).toMatchObject({ code: 1 })
    expect(await place.left('work')).toBe('1')
  })
})
