/** Connections on which nothing comes any more, closed in time. */
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals'
import { Socket } from 'node:net'
import { Chain } from '../../src/runtime/chain.ts'
import { IdleConnections } from '../../src/runtime/idle-connections.ts'
import { Peer, type PeerResponse } from '../../src/runtime/peer.ts'

beforeEach(() => void jest.useFakeTimers())
afterEach(() => void jest.useRealTimers())

class Connection extends Socket {
  override bytesRead = 100 // of a request
}

function watched(keepAliveTimeout: number) {
  const connections = new Chain<Peer>()
  const idle = new IdleConnections(() => connections, keepAliveTimeout)
  const open = (state: Partial<Peer> = {}) => {
    const socket = new Connection()
    const peer = new Peer(socket)
    Object.assign(peer, { endpoints: { client: null, server: null } }, state)
    connections.add(peer)
    return { socket, peer }
  }
  return { idle, open }
}

test('a connection is closed when nothing has come for keepAliveTimeout and a second, and soon after that', () => {
  const { idle, open } = watched(8000)
  const { socket } = open()
  jest.advanceTimersByTime(9000)
  expect(socket.destroyed).toBe(false)
  jest.advanceTimersByTime(2000)
  expect(socket.destroyed).toBe(true)
  idle.stop()
})

test('whatever comes begins the time anew, also a part of a head', () => {
  const { idle, open } = watched(8000)
  const { socket } = open()
  for (let part = 0; part < 10; part++) {
    jest.advanceTimersByTime(7000)
    socket.bytesRead += 1
  }
  expect(socket.destroyed).toBe(false)
  jest.advanceTimersByTime(12_000)
  expect(socket.destroyed).toBe(true)
  idle.stop()
})

test('a connection is not idle while it waits for its answer, and is when the answer is out and the rest of its request never comes', () => {
  const { idle, open } = watched(8000)
  const { socket, peer } = open()
  const answer = { writableFinished: false }
  peer.newest = answer as PeerResponse
  jest.advanceTimersByTime(60_000)
  expect(socket.destroyed).toBe(false)
  answer.writableFinished = true
  jest.advanceTimersByTime(8000)
  expect(socket.destroyed).toBe(false)
  jest.advanceTimersByTime(3000)
  expect(socket.destroyed).toBe(true)
  idle.stop()
})

test('a peer that takes none of its answers is cut, unless somebody watches the one whose turn it is', () => {
  const { idle, open } = watched(8000)
  const newest = { writableFinished: false } as PeerResponse
  const turns = [
    { writableEnded: true },
    { writableEnded: true },
    { writableEnded: true, watcher: {} },
    { writableEnded: false },
  ]
  const opened = turns.map((turn) => {
    const { socket } = open({ newest })
    Object.assign(socket, { _httpMessage: turn })
    return socket
  })
  let waiting = 1000
  Object.defineProperty(opened[1], 'writableLength', { get: () => waiting })
  for (let taken = 0; taken < 10; taken++) {
    jest.advanceTimersByTime(7000)
    waiting -= 10
  }
  expect(opened.map(({ destroyed }) => destroyed)).toEqual([true, false, false, false])
  idle.stop()
})

test('one that never asked, and one that a protocol has taken over, are not its business', () => {
  const { idle, open } = watched(1000)
  const sockets = [open({ endpoints: undefined }).socket, open({ upgraded: true }).socket]
  jest.advanceTimersByTime(60_000)
  expect(sockets.map(({ destroyed }) => destroyed)).toEqual([false, false])
  idle.stop()
})

test('after its end it closes nothing', () => {
  const { idle, open } = watched(1000)
  const { socket } = open()
  idle.stop()
  jest.advanceTimersByTime(60_000)
  expect(socket.destroyed).toBe(false)
})
