// The 34 provinces as the data writes them: the many and wide names that the page must stand.

export const PROVINCES = ("广东省 浙江省 江苏省 山东省 河南省 四川省 湖北省 湖南省 河北省 安徽省 福建省 上海市 北京市 辽宁省 陕西省 江西省 "
  + "广西壮族自治区 重庆市 云南省 黑龙江省 山西省 吉林省 贵州省 天津市 内蒙古自治区 新疆维吾尔自治区 海南省 甘肃省 宁夏回族自治区 青海省 "
  + "西藏自治区 香港特别行政区 澳门特别行政区 台湾省").split(" ");
