/** What channels and groups may be called. */
import { SignalboxError } from '../runtime/errors.ts'

const channelName = /^(?=.{1,100}$)[\w.-]+(?:![\w.-]+)?$/
const groupName = /^[\w.-]{1,100}$/

/** @throws SignalboxError `bad_name`. */
export function checkName(kind: 'channel' | 'group', name: string): void {
  if (typeof name === 'string' && (kind === 'channel' ? channelName : groupName).test(name)) return
  const found = JSON.stringify(String(name).slice(0, 120))
  throw new SignalboxError('bad_name', `a ${kind} name has 1 to 100 characters of A-Z a-z 0-9 - _ ., found ${found}`)
}

/** @throws SignalboxError `bad_name` when the channel belongs to a process: its messages are not work. */
export function checkNamed(channel: string): void {
  checkName('channel', channel)
  if (!processOf(channel)) return
  throw new SignalboxError(
    'bad_name',
    `only a named channel is consumed, and ${channel} belongs to one process: use receive`,
  )
}

/** The process that a channel belongs to; undefined for a named channel, which anybody may serve. */
export function processOf(channel: string): string | undefined {
  const end = channel.indexOf('!')
  return end === -1 ? undefined : channel.slice(0, end)
}
