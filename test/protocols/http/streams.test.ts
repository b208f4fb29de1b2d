/** Responses that come as a stream: how they end when their peer leaves, or they fail. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from '@jest/globals'
import { httpHandler } from '../../../protocols/http/consumer.ts'
import { RawClient } from '../../support/raw-client.ts'
import { serveHttp } from './support.ts'

/** A peer that asks, and leaves when `until` resolves. */
async function visit({ url }: { readonly url: string }, until: Promise<void>): Promise<void> {
  const client = await RawClient.connect(url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await until
  client.end()
}

test('a stream is cancelled when the peer leaves', async () => {
  const cancelled = Promise.withResolvers<void>()
  await using server = await serveHttp(
    httpHandler(() => {
      const stream = new ReadableStream({
        async pull(controller) {
          await sleep(5)
          controller.enqueue(new Uint8Array(10))
        },
        cancel: () => cancelled.resolve(),
      })
      return new Response(stream)
    }),
  )
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await client.until(/\r\n\r\n/)
  client.reset()
  await cancelled.promise
  await server.test.idle()
})

test.each([
  ['before it has said anything', 0],
  ['after it has said something', 1],
])('a quiet stream is cancelled when the peer leaves %s', async (_name, parts) => {
  const waiting = Promise.withResolvers<void>()
  const cancelled = Promise.withResolvers<void>()
  await using server = await serveHttp(
    httpHandler(() => {
      let left = parts
      const pull = (controller: ReadableStreamDefaultController) => {
        if (left-- > 0) return controller.enqueue(new Uint8Array(10))
        setTimeout(waiting.resolve, 5)
        return new Promise<void>(() => {})
      }
      return new Response(new ReadableStream({ pull, cancel: () => cancelled.resolve() }))
    }),
  )
  await visit(server, waiting.promise)
  await cancelled.promise
  await server.test.idle()
})

test('the stream of a peer that has left before the handler answered is cancelled', async () => {
  const begun = Promise.withResolvers<void>()
  const cancelled = Promise.withResolvers<void>()
  await using server = await serveHttp(
    httpHandler(async (_request, { signal }) => {
      begun.resolve()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      return new Response(new ReadableStream({ pull: () => new Promise(() => {}), cancel: () => cancelled.resolve() }))
    }),
  )
  await visit(server, begun.promise)
  await cancelled.promise
  await server.test.idle()
})

test('a stream that fails cuts the connection, so that nobody takes its half for the whole', async () => {
  await using server = await serveHttp(
    httpHandler(() => {
      const parts = async function* () {
        yield new TextEncoder().encode('half')
        await sleep(1)
        throw new Error('the disk is gone')
      }
      return new Response(ReadableStream.from(parts()))
    }),
  )
  const client = await RawClient.connect(server.url)
  client.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  expect(await client.closed).toMatch(/4\r\nhalf\r\n$/)
})
