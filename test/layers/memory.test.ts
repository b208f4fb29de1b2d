/** The in-memory channel layer. */
import { MemoryLayer } from '../../src/layers/memory.ts'
import { layerContract } from './contract.ts'

layerContract('memory', async (options) => new MemoryLayer(options))
