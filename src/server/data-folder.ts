/** Makes a gateway's data folder. */
import { SignalboxError, reason } from '../runtime/errors.ts'
import { makeFolder } from '../runtime/make-folder.ts'

/** @throws SignalboxError `bad_config`. */
export function makeDataFolder(data: string): void {
  try {
    makeFolder(data)
  } catch (error) {
    const message = `the data folder ${data} cannot be made: ${reason(error)}; write another one at data`
    throw new SignalboxError('bad_config', message, { cause: error })
  }
}
