/** Where the journals of a data folder are: that of the first process in the folder itself, those of the others below it. */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { hasCode } from '../runtime/errors.ts'

/** The folder of the journal of process `number`, which counts from 1. */
export function journalFolder(data: string, number = 1): string {
  return number === 1 ? data : path.join(data, `process-${number}`)
}

/** The numbers of the processes that have a journal there, or left one, in order; the first is always among them. */
export function journalNumbers(data: string): readonly number[] {
  const names = namesIn(data)
  const others = names.flatMap((name) => {
    const number = Number(/^process-([1-9]\d{0,3})$/.exec(name)?.[1] ?? 0)
    return number > 1 ? [number] : []
  })
  return [1, ...others.toSorted((a, b) => a - b)]
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return []
    throw error
  }
}
