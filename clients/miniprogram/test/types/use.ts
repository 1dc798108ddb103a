// Compiled, never run: what people write compiles, and what would go wrong does not.
import { createClient, GateError } from '../../lib'
import type { Client, Reason } from '../../lib'

const gate: Client = createClient({
  baseUrl: { develop: 'http://127.0.0.1:4180', release: 'https://app.example.com' },
  wx,
  paths: { session: '' },
  tokenIn: 'header:X-Session',
  socketTokenIn: 'query:session',
  loginData: () => ({ channel: 'poster' }),
})

interface Me { openid: string }

export async function use(): Promise<void> {
  const { data, statusCode, header } = await gate.request<Me>({ url: '/me', method: 'POST', data: { a: 1 }, timeout: 1000, enableHttp2: true })
  const openid: string = data.openid
  const status: number = statusCode
  gate.request({ url: '/me', success: (res) => res.data, fail: (error) => error.retryAfter, onTask: (task) => task.abort() })

  const upload = await gate.uploadFile<{ avatar: string }>({
    url: '/avatar', filePath: 'a', name: 'avatar', formData: { album: 7 },
    onTask: (task) => task.onProgressUpdate((progress) => progress.progress),
  })
  const avatar: string = upload.data.avatar
  const file: string = (await gate.downloadFile({ url: '/file' })).tempFilePath

  const socket: WechatMiniprogram.SocketTask = await gate.connectSocket({
    url: '/chat', protocols: ['chat'], onMessage: (message) => message.data, onClose: (closed) => closed.code,
  })
  socket.send({ data: 'hello' })

  await gate.prepareData()
  const steps = await gate.decrypt<{ stepInfoList: { step: number }[] }>(await wx.getWeRunData())
  const step: number | undefined = steps.stepInfoList[0]?.step
  const answer = await gate.login({ data: { invitedBy: 'bob' }, timeout: 5000 })
  await gate.logout({ all: true })
  console.log(openid, status, header, avatar, file, step, answer.token)
}

Page({
  async phone(e: WechatMiniprogram.ButtonGetPhoneNumber) {
    try {
      const { phoneNumber } = await gate.phone(e.detail)
      this.setData({ phoneNumber })
    } catch (error) {
      if (!(error instanceof GateError)) throw error
      const reason: Reason = error.reason
      if (reason === 'reacquire') wx.showToast({ title: error.code, icon: 'none' })
    }
  },
})

// @ts-expect-error: there is no address for the release
createClient({ baseUrl: { develop: 'http://127.0.0.1:4180' } })
// @ts-expect-error: the gate reads no token from a query outside of handshakes
createClient({ baseUrl: 'https://app.example.com', tokenIn: 'query:session' })
// @ts-expect-error: wx.request has no PATCH
gate.request({ url: '/me', method: 'PATCH' })
// @ts-expect-error: an upload needs its file
gate.uploadFile({ url: '/avatar', name: 'avatar' })
// @ts-expect-error: a phone number is asked for with what the button gave
gate.phone()
// @ts-expect-error: nobody waits for this reason
const wrong: Reason = 'unknown'
console.log(wrong)
