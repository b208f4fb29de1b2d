/** A consumer that blocks, named in the YAML like any other, on a gateway as a child process. */
import { expect, test } from '@jest/globals'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { WebSocket } from 'ws'
import { Running, realMain } from '../support/child.ts'

const handler = path.join(import.meta.dirname, 'fixtures', 'blocking.ts')
const yaml = `
listen: { http: { address: 127.0.0.1:0 } }
data: ./data
application:
  ProtocolTypeRouter: { websocket: { URLRouter: [{ path: "/", app: "${handler}#Blocking" }] } }
`

async function connect(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url)
  await once(socket, 'open')
  return socket
}

test('it keeps its state on a thread of its own, and while it blocks another socket is answered', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'signalbox-'))
  await writeFile(path.join(folder, 'gateway.yaml'), yaml)
  try {
    await using gateway = new Running(realMain, ['serve', path.join(folder, 'gateway.yaml')])
    const [url = ''] = await gateway.sees('out', /ws:\/\/127\.0\.0\.1:\d+/)
    const [busy, other] = await Promise.all([connect(url), connect(url)])
    const story: string[] = []
    busy.on('message', (data) => story.push(`busy ${String(data)}`))
    other.on('message', (data) => story.push(`other ${String(data)}`))
    busy.send('first')
    await once(busy, 'message')
    const answered = once(busy, 'message')
    busy.send('spin')
    other.send('meanwhile')
    await answered
    expect(story).toEqual(['busy 1 true', 'other 1 true', 'busy 2 true'])
    busy.close()
    other.close()
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
