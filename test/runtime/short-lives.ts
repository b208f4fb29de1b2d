/** Opens and ends many instances, and prints how many bytes each of them has left behind among what is old in memory. */
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { Instance } from '../../src/runtime/instance.ts'
import { defaultMailboxLimits } from '../../src/runtime/instance-options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { settled } from '../../src/runtime/settled.ts'
import { scopeOf } from '../support/scopes.ts'
import type { TestProtocol } from './test-protocol.ts'

// As everything is before it was called some thousand times.
setFlagsFromString('--no-opt')
setFlagsFromString('--no-maglev')

const many = 20_000
const options = { layer: new MemoryLayer(), log: silentLog, closeTimeout: 1000, limits: defaultMailboxLimits }
const transport = { progress: 'finished', send: () => undefined, end: () => undefined } as const

function old(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space')?.space_used_size ?? Number.NaN
}

async function openAll(): Promise<void> {
  for (let count = 0; count < many; count++) {
    const instance = new Instance<TestProtocol>(() => settled, scopeOf('test'), transport, options)
    // One after the other: as many as are open at once may well grow old.
    await instance.completed
  }
}

await openAll()
const before = old()
await openAll()
process.stdout.write(`${(old() - before) / many}\n`)
