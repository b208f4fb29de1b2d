/** Makes a gateway's data folder. */
import { mkdir } from 'node:fs/promises'
import { SignalboxError, reason } from '../runtime/errors.ts'

/** @throws SignalboxError `bad_config`. */
export async function makeDataFolder(data: string): Promise<void> {
  try {
    // What came in is nobody else's to read.
    await mkdir(data, { recursive: true, mode: 0o700 })
  } catch (error) {
    const message = `the data folder ${data} cannot be made: ${reason(error)}; write another one at data`
    throw new SignalboxError('bad_config', message, { cause: error })
  }
}
